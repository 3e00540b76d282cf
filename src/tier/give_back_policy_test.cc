#include "tier/give_back_policy.h"

#include <vector>

#include <gtest/gtest.h>

namespace doppler {
namespace {

constexpr PoolChange kNoChange;
constexpr Bytes kPlenty = 1000;

PoolChange Give(Bytes bytes) { return {PoolChange::Kind::kGiveBack, bytes}; }
PoolChange Take(Bytes bytes) { return {PoolChange::Kind::kTakeAgain, bytes}; }

// A pool of 100 bytes whose changes are carried out.
class GiveBackPolicyTest : public testing::Test {
 protected:
  static constexpr GiveBackOptions kOptions{.size = 100,
                                            .least = 35,
                                            .step = 20,
                                            .margin = 50,
                                            .interval_seconds = 1,
                                            .stalled_share = 0.1,
                                            .quiet_share = 0.01,
                                            .quiet_seconds = 5};

  // After a second of which that share was stalled.
  PoolChange Second(double share, Bytes available = kPlenty) {
    seconds_ += 1;
    stalled_us_ += static_cast<std::uint64_t>(share * 1e6);
    return Sample(available);
  }
  PoolChange Sample(Bytes available = kPlenty) {
    const PoolChange change = policy_.Next({seconds_, stalled_us_, available}, away_);
    if (change.kind == PoolChange::Kind::kGiveBack) away_ += change.bytes;
    if (change.kind == PoolChange::Kind::kTakeAgain) away_ -= change.bytes;
    return change;
  }

  GiveBackPolicy policy_{kOptions};
  double seconds_ = 1000;
  std::uint64_t stalled_us_ = 123'456'789;
  Bytes away_ = 0;
};

TEST_F(GiveBackPolicyTest, TheFirstSampleTellsNothing) {
  EXPECT_EQ(Sample(), kNoChange);
  EXPECT_EQ(Second(0.5), Give(20));
}

TEST_F(GiveBackPolicyTest, GivesBackFromTheThresholdOnStepByStepDownToTheLeast) {
  Sample();
  EXPECT_EQ(Second(0.099), kNoChange);
  EXPECT_EQ(Second(0.1), Give(20));
  EXPECT_EQ(Second(0.2), Give(20));
  EXPECT_EQ(Second(0.09), kNoChange);
  EXPECT_EQ(Second(1), Give(20));
  EXPECT_EQ(Second(1), Give(5));
  EXPECT_EQ(Second(1), kNoChange);
  EXPECT_EQ(away_, kOptions.size - kOptions.least);
}

TEST_F(GiveBackPolicyTest, GivesNothingOfAPoolAtItsLeast) {
  GiveBackOptions options = kOptions;
  options.least = options.size;
  GiveBackPolicy policy(options);
  policy.Next({0, 0, 0}, 0);
  EXPECT_EQ(policy.Next({1, 1'000'000, 0}, 0), kNoChange);
}

TEST_F(GiveBackPolicyTest, SharesAreOfTheTimeThatPassed) {
  Sample();
  seconds_ += 9;  // the thread that samples did not run for a while
  EXPECT_EQ(Second(0.9), kNoChange);
  seconds_ += 9;
  EXPECT_EQ(Second(1), Give(20));
}

TEST_F(GiveBackPolicyTest, SamplesThatAreTooNearAddUp) {
  Sample();
  seconds_ += 0.5;
  stalled_us_ += 100'000;
  EXPECT_EQ(Sample(), kNoChange);
  seconds_ += 0.5;
  EXPECT_EQ(Sample(), Give(20));
}

TEST_F(GiveBackPolicyTest, TakesAgainAfterQuietStepByStep) {
  Sample();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Second(1), Give(20));
  std::vector<Bytes> taken;
  for (int i = 0; i < 20; ++i) {
    const PoolChange change = Second(0.01);
    EXPECT_NE(change.kind, PoolChange::Kind::kGiveBack);
    taken.push_back(change.bytes);
  }
  EXPECT_EQ(taken, (std::vector<Bytes>{0, 0, 0, 0, 20, 0, 0, 0, 0, 20,  //
                                       0, 0, 0, 0, 20, 0, 0, 0, 0, 0}));
}

TEST_F(GiveBackPolicyTest, LittlePressureIsNotQuiet) {
  Sample();
  Second(1);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Second(0), kNoChange);
  EXPECT_EQ(Second(0.02), kNoChange);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Second(0), kNoChange);
  EXPECT_EQ(Second(0), Take(20));
}

TEST_F(GiveBackPolicyTest, TakesNoMoreThanIsAway) {
  away_ = 7;
  Sample();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Second(0), kNoChange);
  EXPECT_EQ(Second(0), Take(7));
}

TEST_F(GiveBackPolicyTest, TakesAgainOnlyWhatIsThereWithAMargin) {
  Sample();
  Second(1);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Second(0, 70), kNoChange);
  EXPECT_EQ(Second(0, 0), kNoChange);
  EXPECT_EQ(Second(0, 71), Take(20));
}

TEST_F(GiveBackPolicyTest, CountsThatGoBackBeginAnew) {
  Sample();
  Second(1);
  stalled_us_ = 0;  // another group, say
  EXPECT_EQ(Second(0), kNoChange);
  EXPECT_EQ(Second(0.5), Give(20));
  seconds_ = 0;
  EXPECT_EQ(Second(1), kNoChange);
  EXPECT_EQ(Second(1), Give(20));
}

TEST(GiveBackOptions, StepsAreWholeRegions) {
  const GiveBackOptions small = GiveBackOptionsFor(100 * kMiB, kMiB, 64 * kMiB);
  EXPECT_EQ(small.size, 100 * kMiB);
  EXPECT_EQ(small.least, kMiB);
  EXPECT_EQ(small.step, 64 * kMiB);
  EXPECT_EQ(small.margin, 32 * kMiB);
  const GiveBackOptions large = GiveBackOptionsFor(16 * kGiB + 1, kMiB, 64 * kMiB);
  EXPECT_EQ(large.step, 17 * 64 * kMiB);
  EXPECT_EQ(large.margin, kGiB + 1);
  EXPECT_EQ(GiveBackOptionsFor(512 * kGiB, 0, 64 * kMiB).margin, 2 * kGiB);
  EXPECT_EQ(GiveBackOptionsFor(0, 0, 64 * kMiB).step, 0u);
}

}  // namespace
}  // namespace doppler
