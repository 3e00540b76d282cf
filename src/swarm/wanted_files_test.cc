#include "swarm/wanted_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace doppler {

bool operator==(const WantedFiles::Change& a, const WantedFiles::Change& b) {
  return a.file == b.file && a.priority == b.priority;
}

namespace {

using Change = WantedFiles::Change;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr int kHalf = WantedFiles::kMostUnhurriedPieces / 2;

TEST(WantedFilesTest, AsksForWhatFitsAndForMoreWhenThatIsHere) {
  WantedFiles files({kHalf, kHalf, kHalf, 1});
  for (const std::uint32_t file : {2u, 0u, 1u, 3u}) files.Want(file, 1);
  EXPECT_THAT(files.TakeChanges(), ElementsAre(Change{2, 1}, Change{0, 1}));
  EXPECT_THAT(files.TakeChanges(), IsEmpty());
  files.Came(0);
  EXPECT_THAT(files.TakeChanges(), ElementsAre(Change{1, 1}));
  files.Came(2);
  EXPECT_THAT(files.TakeChanges(), ElementsAre(Change{3, 1}));
  EXPECT_EQ(files.PriorityOf(2), 1);
}

TEST(WantedFilesTest, IsIdleWhenAllThatIsWantedIsHere) {
  WantedFiles files({kHalf, 2 * kHalf});
  EXPECT_TRUE(files.IsIdle());
  files.Want(0, 1);
  files.Want(1, 1);
  EXPECT_FALSE(files.IsIdle());
  files.TakeChanges();
  files.Came(0);
  EXPECT_FALSE(files.IsIdle());
  files.Forget(1);
  EXPECT_TRUE(files.IsIdle());
}

TEST(WantedFilesTest, WhatIsWaitedForComesFirstAndHasMoreRoom) {
  WantedFiles files({kHalf, kHalf, kHalf, kHalf});
  files.Want(0, 1);
  files.Want(1, 6);
  files.Want(2, 7);
  files.Want(3, 1);
  EXPECT_THAT(files.TakeChanges(), ElementsAre(Change{2, 7}, Change{1, 6}));
  files.Want(3, 7);
  EXPECT_THAT(files.TakeChanges(), ElementsAre(Change{3, 7}));
  files.Came(2);
  files.Came(1);
  EXPECT_THAT(files.TakeChanges(), ElementsAre(Change{0, 1}));
}

TEST(WantedFilesTest, AFileLongerThanAllIsAskedForAlone) {
  WantedFiles files({WantedFiles::kMostPieces + 1, 1});
  files.Want(0, 7);
  files.Want(1, 7);
  EXPECT_THAT(files.TakeChanges(), ElementsAre(Change{0, 7}));
  files.Came(0);
  EXPECT_THAT(files.TakeChanges(), ElementsAre(Change{1, 7}));
}

TEST(WantedFilesTest, PrioritiesChangeWhileAFileIsOnItsWay) {
  WantedFiles files({kHalf, kHalf, kHalf});
  files.Want(0, 1);
  files.Want(1, 1);
  files.Want(2, 1);
  EXPECT_EQ(files.TakeChanges().size(), 2u);
  files.Want(0, 7);
  EXPECT_THAT(files.TakeChanges(), ElementsAre(Change{0, 7}));
  files.Want(0, 0);
  EXPECT_THAT(files.TakeChanges(), ElementsAre(Change{0, 0}, Change{2, 1}));
  files.Want(0, 1);
  EXPECT_THAT(files.TakeChanges(), IsEmpty());
}

TEST(WantedFilesTest, WhatIsHereIsNotAskedForAndWhatWasForgottenIs) {
  WantedFiles files({1, kHalf * 2});
  EXPECT_TRUE(files.Came(0));
  EXPECT_FALSE(files.Came(0));
  files.Want(0, 7);
  EXPECT_THAT(files.TakeChanges(), IsEmpty());
  files.Forget(0);
  EXPECT_THAT(files.TakeChanges(), IsEmpty());
  files.Want(0, 1);
  EXPECT_THAT(files.TakeChanges(), ElementsAre(Change{0, 1}));
  files.Want(1, 1);
  files.Forget(0);
  EXPECT_THAT(files.TakeChanges(), ElementsAre(Change{1, 1}));
}

}  // namespace
}  // namespace doppler
