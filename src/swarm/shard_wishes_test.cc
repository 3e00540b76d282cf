#include "swarm/shard_wishes.h"

#include <gtest/gtest.h>
#include <poll.h>

#include "base/alloc_guard.h"

namespace doppler {
namespace {

bool Awake(const ShardWishes& wishes) {
  pollfd wanted = {wishes.wake(), POLLIN, 0};
  return ::poll(&wanted, 1, 0) == 1;
}

TEST(ShardWishesTest, WhatIsLeasedOrWaitedForIsNotTakenAway) {
  ShardWishes wishes({true, false, false});
  ASSERT_TRUE(wishes.Lease(ShardId(0)));
  EXPECT_FALSE(wishes.Lease(ShardId(1)));
  EXPECT_FALSE(wishes.TakeAway(ShardId(0)));
  EXPECT_TRUE(wishes.Has(ShardId(0)));
  wishes.EndLease(ShardId(0));
  EXPECT_FALSE(Awake(wishes));
  EXPECT_TRUE(wishes.TakeAway(ShardId(0)));
  EXPECT_FALSE(wishes.Has(ShardId(0)));
  wishes.Request(ShardId(1), ShardUrgency::kSoon);
  wishes.Request(ShardId(2), ShardUrgency::kNow);
  EXPECT_TRUE(wishes.TakeAway(ShardId(1)));
  EXPECT_FALSE(wishes.TakeAway(ShardId(2)));
  ASSERT_EQ(wishes.All().size(), 1u);
  EXPECT_EQ(wishes.All()[0].shard, ShardId(2));
  // Asked for again, it is wanted again.
  wishes.Request(ShardId(1), ShardUrgency::kNow);
  EXPECT_EQ(wishes.TakeNew().size(), 2u);
}

constexpr auto kLongAgo = Clock::time_point::min();
constexpr auto kLater = Clock::time_point::max();

TEST(ShardWishesTest, TellsOfEachWishOnceAndWhenItBecomesUrgent) {
  ShardWishes wishes({true, false, false});
  EXPECT_FALSE(Awake(wishes));
  {
    const NoAllocScope no_alloc;
    wishes.Request(ShardId(0), ShardUrgency::kNow);
    wishes.Request(ShardId(1), ShardUrgency::kSoon);
    wishes.Request(ShardId(1), ShardUrgency::kSoon);
  }
  EXPECT_TRUE(Awake(wishes));
  std::vector<ShardWishes::Wish> fresh = wishes.TakeNew();
  ASSERT_EQ(fresh.size(), 1u);
  EXPECT_EQ(fresh[0].shard, ShardId(1));
  EXPECT_EQ(fresh[0].urgency, ShardUrgency::kSoon);
  EXPECT_FALSE(Awake(wishes));
  wishes.Request(ShardId(1), ShardUrgency::kNow);
  wishes.Request(ShardId(1), ShardUrgency::kSoon);
  fresh = wishes.TakeNew();
  ASSERT_EQ(fresh.size(), 1u);
  EXPECT_EQ(fresh[0].urgency, ShardUrgency::kNow);
  EXPECT_EQ(wishes.All().size(), 1u);
}

TEST(ShardWishesTest, WhatCameIsNotWanted) {
  ShardWishes wishes({false, false});
  wishes.Request(ShardId(0), ShardUrgency::kSoon);
  wishes.Request(ShardId(1), ShardUrgency::kNow);
  EXPECT_FALSE(wishes.Came(ShardId(0)).demanded);
  const ShardWishes::Arrival arrival = wishes.Came(ShardId(1));
  EXPECT_TRUE(arrival.demanded);
  EXPECT_GE(arrival.seconds, 0);
  EXPECT_TRUE(wishes.Has(ShardId(0)));
  EXPECT_TRUE(wishes.All().empty());
  EXPECT_TRUE(wishes.TakeNew().empty());
}

TEST(ShardWishesTest, WhatIsLateIsStillWantedAndCanBeAskedForAgain) {
  ShardWishes wishes({false, false});
  wishes.Request(ShardId(0), ShardUrgency::kSoon);
  wishes.Request(ShardId(1), ShardUrgency::kNow);
  wishes.TakeNew();
  EXPECT_TRUE(wishes.Expire(kLongAgo).empty());
  EXPECT_EQ(wishes.Expire(kLater), std::vector<ShardId>{ShardId(1)});
  EXPECT_TRUE(wishes.Expire(kLater).empty());
  EXPECT_EQ(wishes.All().size(), 2u);
  wishes.Request(ShardId(1), ShardUrgency::kNow);
  EXPECT_EQ(wishes.TakeNew().size(), 1u);
}

TEST(ShardWishesTest, CountsWhatWasAskedForBeforeAndIsWaitedFor) {
  ShardWishes wishes({false, false, false, false});
  wishes.Request(ShardId(2), ShardUrgency::kNow);
  wishes.Request(ShardId(3), ShardUrgency::kSoon);
  wishes.Request(ShardId(0), ShardUrgency::kNow);
  wishes.Request(ShardId(1), ShardUrgency::kNow);
  EXPECT_EQ(wishes.AskedBefore(ShardId(2)), 0);
  EXPECT_EQ(wishes.AskedBefore(ShardId(0)), 1);
  EXPECT_EQ(wishes.AskedBefore(ShardId(1)), 2);
  wishes.Came(ShardId(2));
  EXPECT_EQ(wishes.AskedBefore(ShardId(1)), 1);
}

}  // namespace
}  // namespace doppler
