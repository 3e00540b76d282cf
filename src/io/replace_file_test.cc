#include "io/replace_file.h"

#include <iterator>

#include <gtest/gtest.h>

#include "base/error.h"
#include "io/file.h"

namespace doppler {
namespace {

TEST(ReplaceFile, ReplacesAllOrNothing) {
  const TempFolder folder;
  const auto path = folder.path() / "file";
  ReplaceFile(path, std::as_bytes(std::span("one", 3)));
  ReplaceFile(path, std::as_bytes(std::span("three", 5)));
  EXPECT_EQ(ReadTextFile(path), "three");
  EXPECT_THROW(ReplaceFile(folder.path() / "no" / "file", {}), Error);
  std::filesystem::create_directory(folder.path() / "folder");
  EXPECT_THROW(ReplaceFile(folder.path() / "folder", {}), Error);
  const std::filesystem::directory_iterator entries(folder.path());
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 2);
}

}  // namespace
}  // namespace doppler
