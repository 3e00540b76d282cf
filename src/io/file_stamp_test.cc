#include "io/file_stamp.h"

#include <gtest/gtest.h>

#include "io/file.h"

namespace doppler {

namespace fs = std::filesystem;

TEST(FileStampTest, StaysWhileTheFileDoes) {
  const TempFolder temp;
  const fs::path path = temp.path() / "a";
  WriteTextFile(path, "bytes");
  const auto stamp = StampOf(path);
  ASSERT_TRUE(stamp);
  EXPECT_EQ(stamp->size, 5u);
  EXPECT_EQ(StampOf(path), stamp);
  // Another file of the same size and time.
  fs::rename(path, temp.path() / "b");
  WriteTextFile(path, "BYTES");
  fs::last_write_time(path, fs::last_write_time(temp.path() / "b"));
  EXPECT_EQ(StampOf(path)->modified_ns, stamp->modified_ns);
  EXPECT_NE(StampOf(path), stamp);
}

TEST(FileStampTest, OnlyPlainFilesHaveOne) {
  const TempFolder temp;
  WriteTextFile(temp.path() / "a", "x");
  fs::create_symlink("a", temp.path() / "link");
  EXPECT_FALSE(StampOf(temp.path() / "link"));
  EXPECT_FALSE(StampOf(temp.path() / "none"));
  EXPECT_FALSE(StampOf(temp.path()));
}

}  // namespace doppler
