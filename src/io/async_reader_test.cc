#include "io/async_reader.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "io/mapped_memory.h"

namespace doppler {
namespace {

enum class Mechanism { kUring, kThreads };

std::unique_ptr<AsyncReader> Make(Mechanism mechanism, const AsyncReaderOptions& options,
                                  ReadDone on_done) {
  return mechanism == Mechanism::kUring ? MakeUringReader(options, std::move(on_done))
                                        : MakeThreadReader(options, std::move(on_done));
}

class AsyncReaderTest : public testing::TestWithParam<Mechanism> {
 protected:
  void SetUp() override {
    std::string content(kPages * kDirectAlignment, '\0');
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = PatternAt(i);
    WriteTextFile(folder_.path() / "data", content);
    file_ = File(folder_.path() / "data", OpenMode::kDirect);
  }

  static char PatternAt(std::size_t i) { return static_cast<char>((i * 2654435761u) >> 13); }

  static constexpr std::size_t kPages = 64;
  TempFolder folder_;
  File file_;
};

TEST_P(AsyncReaderTest, ReadsManyRangesWithAShallowQueue) {
  MappedMemory memory(kPages * kDirectAlignment);
  std::atomic<int> done{0};
  std::atomic<std::uint64_t> tags{0};
  {
    const auto reader =
        Make(GetParam(), {.depth = 4, .threads = 2}, [&](std::uint64_t tag, int error) {
          EXPECT_EQ(error, 0);
          tags.fetch_add(tag);
          done.fetch_add(1);
        });
    for (std::size_t page = 0; page < kPages; ++page) {
      reader->Submit({.file = &file_,
                      .offset = page * kDirectAlignment,
                      .out = memory.span().subspan(page * kDirectAlignment, kDirectAlignment),
                      .tag = page});
    }
  }
  EXPECT_EQ(done.load(), static_cast<int>(kPages));
  EXPECT_EQ(tags.load(), kPages * (kPages - 1) / 2);
  for (std::size_t i = 0; i < memory.size(); ++i) {
    ASSERT_EQ(static_cast<char>(memory.data()[i]), PatternAt(i)) << i;
  }
}

// Inside and outside of what was announced, and across the border of two registered regions.
TEST_P(AsyncReaderTest, ReadsIntoAnnouncedMemory) {
  constexpr Bytes kBorder = 64 * kMiB;
  MappedMemory memory(kBorder + kPages * kDirectAlignment);
  MappedMemory elsewhere(kDirectAlignment);
  std::vector<File> files;
  files.emplace_back(folder_.path() / "data", OpenMode::kDirect);
  std::atomic<int> failed{0};
  {
    const auto reader = Make(GetParam(), {.depth = 4, .files = files, .memory = memory.span()},
                             [&](std::uint64_t, int error) { failed += error == 0 ? 0 : 1; });
    const auto read = [&](const File& file, Bytes page, std::span<std::byte> out) {
      reader->Submit({.file = &file, .offset = page * kDirectAlignment, .out = out, .tag = 0});
    };
    read(files[0], 0, memory.span().subspan(0, 2 * kDirectAlignment));
    read(files[0], 5, memory.span().subspan(kBorder - kDirectAlignment, 2 * kDirectAlignment));
    read(files[0], 9, memory.span().subspan(kBorder + kDirectAlignment, kDirectAlignment));
    read(file_, 3, memory.span().subspan(kBorder + 2 * kDirectAlignment, kDirectAlignment));
    read(files[0], 7, elsewhere.span());
  }
  EXPECT_EQ(failed.load(), 0);
  const auto shows = [](std::span<const std::byte> bytes, Bytes page, Bytes pages) {
    for (std::size_t i = 0; i < pages * kDirectAlignment; ++i) {
      if (static_cast<char>(bytes[i]) != PatternAt(page * kDirectAlignment + i)) return false;
    }
    return true;
  };
  EXPECT_TRUE(shows(memory.span(), 0, 2));
  EXPECT_TRUE(shows(memory.span().subspan(kBorder - kDirectAlignment), 5, 2));
  EXPECT_TRUE(shows(memory.span().subspan(kBorder + kDirectAlignment), 9, 1));
  EXPECT_TRUE(shows(memory.span().subspan(kBorder + 2 * kDirectAlignment), 3, 1));
  EXPECT_TRUE(shows(elsewhere.span(), 7, 1));
}

// What the kernel was told of must not be what it writes to after the pages have changed.
TEST_P(AsyncReaderTest, MemoryThatWasLetGoOfIsReadIntoAnew) {
  constexpr Bytes kRegion = 16 * kDirectAlignment;
  MappedMemory memory(3 * kRegion + 4 * kDirectAlignment);
  std::atomic<int> done{0};
  const auto reader =
      Make(GetParam(), {.memory = memory.span(), .region = kRegion}, [&](std::uint64_t, int error) {
        EXPECT_EQ(error, 0);
        done.fetch_add(1);
        done.notify_all();
      });
  const auto read = [&](Bytes page, Bytes place) {
    const int before = done.load();
    reader->Submit({.file = &file_,
                    .offset = page * kDirectAlignment,
                    .out = memory.span().subspan(place, kDirectAlignment),
                    .tag = 0});
    done.wait(before);
    return static_cast<char>(memory.data()[place + 1]) == PatternAt(page * kDirectAlignment + 1);
  };
  EXPECT_TRUE(read(1, 0));
  EXPECT_TRUE(read(2, kRegion));
  EXPECT_TRUE(read(3, 3 * kRegion));
  const std::span<std::byte> gone = memory.span().subspan(kRegion);
  ASSERT_TRUE(reader->LetGoOf(gone));
  ASSERT_TRUE(DropPages(gone));
  EXPECT_EQ(ResidentBytes(gone), 0u);
  EXPECT_EQ(gone[1], std::byte{0});
  EXPECT_TRUE(read(4, kRegion));
  EXPECT_TRUE(read(5, 3 * kRegion + kDirectAlignment));
  EXPECT_TRUE(read(6, 2 * kRegion));
  EXPECT_TRUE(read(7, kDirectAlignment));
  EXPECT_GE(ResidentBytes(gone), 3 * kDirectAlignment);
  EXPECT_TRUE(reader->LetGoOf({}));
}

TEST_P(AsyncReaderTest, ReportsTheEndOfTheFile) {
  MappedMemory memory(2 * kDirectAlignment);
  std::atomic<int> seen{0};
  {
    const auto reader = Make(GetParam(), {}, [&](std::uint64_t, int error) { seen = error; });
    reader->Submit({.file = &file_,
                    .offset = (kPages - 1) * kDirectAlignment,
                    .out = memory.span(),
                    .tag = 1});
  }
  EXPECT_EQ(seen.load(), kReadPastEnd);
}

TEST_P(AsyncReaderTest, ReportsADeviceError) {
  MappedMemory memory(kDirectAlignment);
  std::atomic<int> seen{0};
  const File closed;
  {
    const auto reader = Make(GetParam(), {}, [&](std::uint64_t, int error) { seen = error; });
    reader->Submit({.file = &closed, .offset = 0, .out = memory.span(), .tag = 1});
  }
  EXPECT_EQ(seen.load(), EBADF);
}

TEST_P(AsyncReaderTest, TakesReadsFromSeveralThreads) {
  MappedMemory memory(kPages * kDirectAlignment);
  std::atomic<int> done{0};
  {
    const auto reader = Make(GetParam(), {.depth = 3, .threads = 3},
                             [&](std::uint64_t, int) { done.fetch_add(1); });
    std::vector<std::thread> submitters;
    for (std::size_t part = 0; part < 4; ++part) {
      submitters.emplace_back([&, part] {
        for (std::size_t page = part; page < kPages; page += 4) {
          reader->Submit({.file = &file_,
                          .offset = page * kDirectAlignment,
                          .out = memory.span().subspan(page * kDirectAlignment, kDirectAlignment),
                          .tag = page});
        }
      });
    }
    for (std::thread& submitter : submitters) submitter.join();
  }
  EXPECT_EQ(done.load(), static_cast<int>(kPages));
}

// io_uring is left out where the system refuses it, as MakeAsyncReader does.
std::vector<Mechanism> PermittedMechanisms() {
  if (UringPermitted()) return {Mechanism::kUring, Mechanism::kThreads};
  return {Mechanism::kThreads};
}

std::string MechanismName(const testing::TestParamInfo<Mechanism>& tested) {
  return tested.param == Mechanism::kUring ? "Uring" : "Threads";
}

INSTANTIATE_TEST_SUITE_P(Mechanisms, AsyncReaderTest, testing::ValuesIn(PermittedMechanisms()),
                         MechanismName);

}  // namespace
}  // namespace doppler
