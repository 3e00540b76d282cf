#include "base/alloc_guard.h"

#include <memory>

#include <gtest/gtest.h>

namespace doppler {
namespace {

TEST(NoAllocScope, NestsAndEnds) {
  EXPECT_FALSE(AllocationForbidden());
  {
    NoAllocScope outer;
    EXPECT_TRUE(AllocationForbidden());
    {
      AllowAllocScope allowed;
      EXPECT_FALSE(AllocationForbidden());
    }
    EXPECT_TRUE(AllocationForbidden());
  }
  EXPECT_FALSE(AllocationForbidden());
}

#ifdef DOPPLER_ALLOCATION_GUARD
TEST(NoAllocScopeDeathTest, AbortsOnAllocation) {
  EXPECT_DEATH(
      {
        NoAllocScope scope;
        const auto leaked = std::make_unique<int[]>(100);
        volatile int first = leaked[0];
        (void)first;
      },
      "NoAllocScope");
}
#endif

}  // namespace
}  // namespace doppler
