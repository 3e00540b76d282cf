#include "io/file.h"

#include <cerrno>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "base/alloc_guard.h"
#include "base/error_testing.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST(File, WritesAndReadsBack) {
  const TempFolder folder;
  WriteTextFile(folder.path() / "a", "hello, world");
  EXPECT_EQ(ReadTextFile(folder.path() / "a"), "hello, world");
  const File file(folder.path() / "a", OpenMode::kRead);
  EXPECT_EQ(file.Size(), 12u);
  std::string part(5, ' ');
  file.ReadAt(7, std::as_writable_bytes(std::span(part)));
  EXPECT_EQ(part, "world");
}

TEST(File, OpensAgainWhatWasClosed) {
  const TempFolder folder;
  const fs::path path = folder.path() / "a";
  WriteTextFile(path, std::string(kDirectAlignment, 'a'));
  File file(path, OpenMode::kDirect);
  EXPECT_TRUE(file.is_open());
  file.Close();
  EXPECT_FALSE(file.is_open());
  EXPECT_EQ(file.path(), path);
  {
    const NoAllocScope no_alloc;
    EXPECT_EQ(file.Reopen(), 0);
  }
  EXPECT_EQ(file.Size(), kDirectAlignment);
  file.Close();
  fs::remove(path);
  EXPECT_EQ(file.Reopen(), ENOENT);
  EXPECT_FALSE(file.is_open());
}

TEST(OpenFileLimit, IsRaisedWhereItMayBe) {
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlim_t hard = before.rlim_max;
  struct rlimit low {};
  low.rlim_cur = 100;
  low.rlim_max = hard;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(RaiseOpenFileLimit(100), 100u);
  EXPECT_EQ(RaiseOpenFileLimit(101), hard);
  // What may not be is told, not refused.
  EXPECT_EQ(RaiseOpenFileLimit(~std::size_t{0}), hard);
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(File, ErrorsNameThePath) {
  const TempFolder folder;
  const fs::path missing = folder.path() / "missing";
  EXPECT_THAT(MessageOf([&] { ReadTextFile(missing); }), HasSubstr(missing.string()));
  WriteTextFile(folder.path() / "a", "abc");
  EXPECT_THAT(MessageOf([&] { WriteTextFile(folder.path() / "a", "abc"); }), HasSubstr("exists"));
  EXPECT_THAT(MessageOf([&] { ReadTextFile(folder.path() / "a", 2); }), HasSubstr("more than"));
  EXPECT_THAT(MessageOf([&] { File(folder.path(), OpenMode::kRead).Size(); }),
              HasSubstr("not a regular file"));
  const File file(folder.path() / "a", OpenMode::kRead);
  std::string four(4, ' ');
  EXPECT_THAT(MessageOf([&] { file.ReadAt(0, std::as_writable_bytes(std::span(four))); }),
              HasSubstr("truncated"));
}

TEST(StagingFolder, VanishesUnlessCommitted) {
  const TempFolder folder;
  const fs::path target = folder.path() / "out";
  {
    const StagingFolder staging(target);
    WriteTextFile(staging.path() / "x", "x");
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
  StagingFolder staging(folder.path() / "out/");
  WriteTextFile(staging.path() / "x", "x");
  staging.Commit();
  EXPECT_EQ(ReadTextFile(target / "x"), "x");
  EXPECT_THAT(MessageOf([&] { StagingFolder again(target); }), HasSubstr("not overwritten"));
}

TEST(StagingFolder, NeverReplacesANameTakenMeanwhile) {
  const TempFolder folder;
  StagingFolder staging(folder.path() / "out");
  WriteTextFile(folder.path() / "out", "mine");
  EXPECT_THROW(staging.Commit(), Error);
  EXPECT_EQ(ReadTextFile(folder.path() / "out"), "mine");
}

TEST(StagingFolder, NeedsAParent) {
  const TempFolder folder;
  EXPECT_THAT(MessageOf([&] { StagingFolder staging(folder.path() / "no" / "out"); }),
              HasSubstr("does not exist"));
}

}  // namespace
}  // namespace doppler
