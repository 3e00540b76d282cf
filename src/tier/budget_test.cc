#include "tier/budget.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

TEST(MemoryBudget, GivesUpToItsLimitAndTakesBack) {
  MemoryBudget budget(100);
  {
    const auto first = budget.Reserve(60);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->size(), 60u);
    EXPECT_FALSE(budget.Reserve(41));
    const auto second = budget.Reserve(40);
    EXPECT_TRUE(second);
    EXPECT_EQ(budget.reserved(), 100u);
    EXPECT_FALSE(budget.Reserve(1));
    EXPECT_TRUE(budget.Reserve(0));
  }
  EXPECT_EQ(budget.reserved(), 0u);
}

TEST(MemoryBudget, HugeClaimsDoNotOverflow) {
  MemoryBudget budget(100);
  const auto some = budget.Reserve(1);
  EXPECT_FALSE(budget.Reserve(~Bytes{0}));
}

TEST(MemoryBudget, SaysWhatDoesNotFit) {
  MemoryBudget budget(10 * kMiB);
  const Reservation some = budget.ReserveOrThrow(6 * kMiB, "some weights", "no advice");
  EXPECT_EQ(budget.reserved(), 6 * kMiB);
  try {
    budget.ReserveOrThrow(5 * kMiB, "the weights", "raise the limit");
    FAIL() << "5 MiB fitted in 4";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "the weights need 5.00 MiB and 4.00 MiB of the budget is left; raise the limit");
  }
}

TEST(Reservation, MovesWithoutReturningTwice) {
  MemoryBudget budget(10);
  Reservation kept;
  {
    auto taken = budget.Reserve(10);
    kept = std::move(*taken);
  }
  EXPECT_EQ(budget.reserved(), 10u);
  kept = Reservation();
  EXPECT_EQ(budget.reserved(), 0u);
}

}  // namespace
}  // namespace doppler
