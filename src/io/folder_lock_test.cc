#include "io/folder_lock.h"

#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "io/file.h"

namespace doppler {

TEST(FolderLockTest, IsHeldByOne) {
  const TempFolder temp;
  const auto problem = [&temp] { return MessageOf([&temp] { FolderLock lock(temp.path()); }); };
  std::optional<FolderLock> lock(temp.path());
  EXPECT_THAT(problem(), testing::HasSubstr("another process is writing"));
  lock.reset();
  EXPECT_EQ(problem(), "no error");
}

TEST(FolderLockTest, NamesAFolderThatIsNotThere) {
  EXPECT_THAT(MessageOf([] { FolderLock lock("/nowhere/at/all"); }),
              testing::HasSubstr("'/nowhere/at/all'"));
}

}  // namespace doppler
