#include "io/probe.h"

#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "io/file.h"

namespace doppler {
namespace {

constexpr double kNoDeadline = 1e9;

TEST(ProbeDisk, ReadsEveryPartOnce) {
  const TempFolder folder;
  WriteTextFile(folder.path() / "a", std::string(10 * kDirectAlignment, 'a'));
  WriteTextFile(folder.path() / "b", std::string(3 * kDirectAlignment + 17, 'b'));
  WriteTextFile(folder.path() / "short", "c");
  const std::array files = {folder.path() / "a", folder.path() / "b", folder.path() / "short"};
  for (const int threads : {1, 3}) {
    const ProbeResult result = ProbeDisk(
        files, {.threads = threads, .request = 2 * kDirectAlignment, .seconds = kNoDeadline});
    EXPECT_EQ(result.bytes, 13 * kDirectAlignment);
    EXPECT_GT(result.seconds, 0);
    EXPECT_GT(result.bytes_per_second(), 0);
    EXPECT_EQ(result.direct, File(files[0], OpenMode::kDirect).direct());
  }
}

TEST(ProbeDisk, StopsWhenTheTimeIsUp) {
  const TempFolder folder;
  WriteTextFile(folder.path() / "a", std::string(kDirectAlignment, 'a'));
  const std::array files = {folder.path() / "a"};
  EXPECT_EQ(ProbeDisk(files, {.seconds = 0}).bytes, 0u);
}

TEST(ProbeDisk, ErrorsNameWhatIsMissing) {
  const TempFolder folder;
  EXPECT_THROW(ProbeDisk({}), Error);
  WriteTextFile(folder.path() / "short", "c");
  const std::array small = {folder.path() / "short"};
  EXPECT_THROW(ProbeDisk(small), Error);
  const std::array missing = {folder.path() / "missing"};
  try {
    ProbeDisk(missing);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("missing"));
  }
}

TEST(ProbeMemory, EveryThreadReadsItsPart) {
  for (const int threads : {1, 2, 5}) {
    const ProbeResult result = ProbeMemory({.threads = threads, .buffer = 64 * kKiB, .seconds = 0});
    EXPECT_GE(result.bytes, 64 * kKiB);
    EXPECT_LE(result.bytes, 64 * kKiB + static_cast<Bytes>(threads) * kDirectAlignment);
    EXPECT_GT(result.bytes_per_second(), 0);
  }
}

TEST(ProbeMemory, TheBufferExceedsTheCacheWithinBounds) {
  EXPECT_EQ(MemoryProbeBuffer(0), 32 * kMiB);
  EXPECT_EQ(MemoryProbeBuffer(32 * kMiB), 64 * kMiB);
  EXPECT_EQ(MemoryProbeBuffer(~Bytes{0}), 256 * kMiB);
}

}  // namespace
}  // namespace doppler
