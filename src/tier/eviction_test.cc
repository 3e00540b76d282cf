#include "tier/eviction.h"

#include <cmath>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

namespace doppler {
namespace {

TEST(EvictionQueue, GivesTheLowestRankAmongChanges) {
  constexpr std::size_t kItems = 200;
  EvictionQueue queue(kItems);
  std::map<std::size_t, double> ranks;
  std::mt19937 random(3);
  for (int step = 0; step < 1000; ++step) {
    const std::size_t item = random() % kItems;
    if (queue.Contains(item)) {
      queue.Remove(item);
      ranks.erase(item);
    } else {
      const double rank = static_cast<double>(random() % 50);
      queue.Add(item, rank);
      ranks[item] = rank;
    }
    ASSERT_EQ(queue.size(), ranks.size());
    std::set<std::pair<double, std::size_t>> sorted;
    for (const auto& [known, rank] : ranks) sorted.emplace(rank, known);
    if (sorted.empty()) continue;
    ASSERT_EQ(queue.First(), sorted.begin()->second);
    ASSERT_EQ(queue.FirstRank(), sorted.begin()->first);
  }
}

TEST(EvictionQueueDeathTest, HoldsAnItemOnce) {
  EvictionQueue queue(2);
  queue.Add(1, 0);
  EXPECT_DEATH(queue.Add(1, 0), "internal error");
  EXPECT_DEATH(queue.Remove(0), "internal error");
}

TEST(AddUse, HalvesWhatIsAHalfLifeOld) {
  const double once = AddUse(kNeverUsed, 1, 0, 10);
  EXPECT_DOUBLE_EQ(once, 0);
  EXPECT_NEAR(AddUse(once, 1, 10, 10), std::log2(3.0), 1e-12);
  EXPECT_DOUBLE_EQ(AddUse(kNeverUsed, 1, 20, 10), 2);
  EXPECT_DOUBLE_EQ(AddUse(kNeverUsed, 4, 0, 10), 2);
  // So far apart that the old use does not count; no overflow either.
  EXPECT_DOUBLE_EQ(AddUse(once, 1, 1e6, 10), 1e5);
}

TEST(Policies, RankAsTheirNamesSay) {
  const ExpertUse old_and_frequent{.key = 0, .last_use = 1, .log_frequency = 9};
  const ExpertUse new_and_rare{.key = 1, .last_use = 5, .log_frequency = 2};
  EXPECT_LT(PolicyOf(PolicyKind::kRecency)(old_and_frequent),
            PolicyOf(PolicyKind::kRecency)(new_and_rare));
  EXPECT_GT(PolicyOf(PolicyKind::kFrequency)(old_and_frequent),
            PolicyOf(PolicyKind::kFrequency)(new_and_rare));
  EXPECT_EQ(PolicyFromName("recency"), PolicyKind::kRecency);
  EXPECT_EQ(PolicyFromName("frequency"), PolicyKind::kFrequency);
  EXPECT_FALSE(PolicyFromName("random"));
}

TEST(PassingRank, TheNewestGoesFirstAndAllGoBeforeWhatWasKept) {
  EXPECT_LT(PassingRank(7), PassingRank(6));
  EXPECT_LT(PassingRank(1), PassingRank(0));
  EXPECT_LT(PassingRank(0), RankByRecency({}));
  EXPECT_LT(kEmptyRank, PassingRank(std::uint64_t{1} << 40));
}

TEST(DefaultPolicy, KeepsTheRecentJustAboveTheCliffOnly) {
  EXPECT_EQ(DefaultPolicy(383, 384), PolicyKind::kFrequency);
  EXPECT_EQ(DefaultPolicy(384, 384), PolicyKind::kRecency);
  EXPECT_EQ(DefaultPolicy(512, 384), PolicyKind::kRecency);
  EXPECT_EQ(DefaultPolicy(513, 384), PolicyKind::kFrequency);
}

TEST(Ranks, FollowTheStandingAndAmongEqualsTheOrder) {
  constexpr std::uint64_t kLate = std::uint64_t{1} << 40;
  const std::vector<double> rising = {kEmptyRank,
                                      SpeculatedRank(1),
                                      SpeculatedRank(2),
                                      SpeculatedRank(kLate),
                                      SpeculatedRank(kLate + 1),
                                      PassingRank(kLate),
                                      PassingRank(2),
                                      PassingRank(1),
                                      AheadRank(kLate + 1),
                                      AheadRank(kLate),
                                      AheadRank(1),
                                      AsideRank(1),
                                      AsideRank(2),
                                      AsideRank(kLate),
                                      AsideRank(kLate + 1),
                                      RankByRecency({.last_use = 1})};
  for (std::size_t i = 1; i < rising.size(); ++i) EXPECT_LT(rising[i - 1], rising[i]) << i;
}

}  // namespace
}  // namespace doppler
