#include "swarm/disk_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

namespace doppler {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Eight experts of 10 bytes behind a dense shard, and room for five.
class DiskCacheTest : public testing::Test {
 protected:
  DiskCacheTest() : disk_(50, Sizes(), wishes_) {}

  static std::vector<Bytes> Sizes() {
    std::vector<Bytes> sizes(9, 10);
    sizes[0] = 0;
    return sizes;
  }
  // Lower numbers are colder.
  static std::vector<double> Ranks() { return {0, 1, 2, 3, 4, 5, 6, 7, 8}; }
  void Have(const std::vector<int>& shards) {
    disk_.Found(ShardId(0));
    for (const int shard : shards) {
      disk_.Found(ShardId(shard));
      wishes_.Came(ShardId(shard));
    }
  }
  std::vector<int> Admit(const std::vector<int>& shards, ShardUrgency urgency) {
    for (const int shard : shards) wishes_.Request(ShardId(shard), urgency);
    return Numbers(disk_.Admit(wishes_.TakeNew()));
  }
  std::vector<int> Choose() {
    std::vector<int> chosen;
    for (const ShardId shard : disk_.Choose(Ranks())) chosen.push_back(shard.value);
    return chosen;
  }
  static std::vector<int> Numbers(const std::vector<ShardWishes::Wish>& wishes) {
    std::vector<int> numbers;
    for (const ShardWishes::Wish& wish : wishes) numbers.push_back(wish.shard.value);
    return numbers;
  }
  bool Woken() const {
    pollfd wanted = {wishes_.wake(), POLLIN, 0};
    return ::poll(&wanted, 1, 0) == 1;
  }

  ShardWishes wishes_{{true, false, false, false, false, false, false, false, false}};
  DiskCache disk_;
};

constexpr auto kNow = ShardUrgency::kNow;
constexpr auto kSoon = ShardUrgency::kSoon;

TEST_F(DiskCacheTest, TakesRoomUntilThereIsNone) {
  EXPECT_THAT(Admit({1, 2, 3, 4}, kSoon), ElementsAre(1, 2, 3, 4));
  EXPECT_FALSE(disk_.NeedsRoom());
  EXPECT_THAT(Choose(), IsEmpty());
  // Urgent ones go first, and the room that is left.
  wishes_.Request(ShardId(6), kSoon);
  EXPECT_THAT(Admit({7}, kNow), ElementsAre(7));
  EXPECT_EQ(disk_.used(), 50u);
  EXPECT_TRUE(disk_.NeedsRoom());
}

TEST_F(DiskCacheTest, TheColdestGoesForWhatIsWaitedFor) {
  Have({2, 3, 4, 5, 6});
  EXPECT_THAT(Admit({1, 7}, kNow), IsEmpty());
  EXPECT_THAT(Choose(), ElementsAre(2, 3));
  EXPECT_FALSE(wishes_.Has(ShardId(2)));
  EXPECT_FALSE(wishes_.Lease(ShardId(3)));
  // Their files are still there: nothing is fetched, and no others go.
  EXPECT_FALSE(disk_.NeedsRoom());
  EXPECT_THAT(Admit({2}, kNow), IsEmpty());
  EXPECT_THAT(Choose(), IsEmpty());
  EXPECT_EQ(disk_.used(), 50u);
  disk_.Gone();
  EXPECT_THAT(Admit({}, kNow), ElementsAre(1, 7));
  EXPECT_THAT(Choose(), ElementsAre(4));
  EXPECT_EQ(disk_.used(), 50u);
}

TEST_F(DiskCacheTest, NeverOneThatIsLeased) {
  Have({1, 2, 3, 4, 5});
  for (int shard = 1; shard <= 5; ++shard) EXPECT_TRUE(wishes_.Lease(ShardId(shard)));
  EXPECT_TRUE(wishes_.Lease(ShardId(4)));
  EXPECT_THAT(Admit({8}, kNow), IsEmpty());
  EXPECT_THAT(Choose(), IsEmpty());
  EXPECT_TRUE(disk_.NeedsRoom());
  wishes_.EndLease(ShardId(4));
  EXPECT_FALSE(Woken());
  wishes_.EndLease(ShardId(4));
  EXPECT_TRUE(Woken());
  EXPECT_THAT(Choose(), ElementsAre(4));
  disk_.Gone();
  EXPECT_THAT(Admit({}, kNow), ElementsAre(8));
}

TEST_F(DiskCacheTest, NeverOneThatSomebodyWaitsFor) {
  EXPECT_THAT(Admit({1, 2, 3}, kNow), ElementsAre(1, 2, 3));
  EXPECT_THAT(Admit({4, 5}, kSoon), ElementsAre(4, 5));
  EXPECT_THAT(Admit({6, 7}, kNow), IsEmpty());
  // Guesses that are on their way give way.
  EXPECT_THAT(Choose(), ElementsAre(4, 5));
  disk_.Gone();
  EXPECT_THAT(Admit({}, kNow), ElementsAre(6, 7));
  EXPECT_EQ(wishes_.All().size(), 5u);
}

TEST_F(DiskCacheTest, AGuessDisplacesOnlyWhatIsColder) {
  Have({4, 5, 6, 7, 8});
  EXPECT_THAT(Admit({3}, kSoon), IsEmpty());
  EXPECT_THAT(Choose(), IsEmpty());
  // It is not remembered: who wants it after all asks again.
  EXPECT_FALSE(disk_.NeedsRoom());
  EXPECT_THAT(wishes_.All(), IsEmpty());
  EXPECT_THAT(Admit({3}, kNow), IsEmpty());
  EXPECT_THAT(Choose(), ElementsAre(4));
  disk_.Gone();
  EXPECT_THAT(Admit({}, kNow), ElementsAre(3));
  wishes_.Came(ShardId(3));
  EXPECT_THAT(Admit({1, 4}, kSoon), IsEmpty());
  EXPECT_THAT(Choose(), ElementsAre(3));
}

TEST_F(DiskCacheTest, TheHottestGuessesDisplaceTheColdest) {
  Have({1, 2, 3, 6, 7});
  EXPECT_THAT(Admit({4, 8, 5}, kSoon), IsEmpty());
  EXPECT_THAT(Choose(), ElementsAre(1, 2, 3));
  disk_.Gone();
  EXPECT_THAT(Admit({}, kSoon), ElementsAre(8, 5, 4));
  for (const int shard : {4, 5, 8}) wishes_.Came(ShardId(shard));
  EXPECT_THAT(Admit({1, 2}, kSoon), IsEmpty());
  EXPECT_THAT(Choose(), IsEmpty());
}

TEST_F(DiskCacheTest, WhatIsOverTheBudgetAtTheStartGoes) {
  Have({1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_TRUE(disk_.NeedsRoom());
  EXPECT_TRUE(wishes_.Lease(ShardId(2)));
  EXPECT_THAT(Choose(), ElementsAre(1, 3, 4));
  disk_.Gone();
  EXPECT_EQ(disk_.used(), 50u);
  EXPECT_FALSE(disk_.NeedsRoom());
  EXPECT_TRUE(wishes_.Has(ShardId(2)));
}

TEST(LargeDiskCacheTest, AnEighthGoesAtOnce) {
  const std::vector<Bytes> sizes(101, 10);
  ShardWishes wishes(std::vector<bool>(101, false));
  DiskCache disk(800, sizes, wishes);
  for (int shard = 0; shard < 80; ++shard) {
    disk.Found(ShardId(shard));
    wishes.Came(ShardId(shard));
  }
  wishes.Request(ShardId(90), kNow);
  EXPECT_THAT(disk.Admit(wishes.TakeNew()), IsEmpty());
  EXPECT_EQ(disk.Choose(std::vector<double>(101, 1)).size(), 10u);
}

}  // namespace
}  // namespace doppler
