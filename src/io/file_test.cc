#include "io/file.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
