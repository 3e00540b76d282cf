#include "tier/eviction.h"

#include <vector>

#include <gtest/gtest.h>

namespace doppler {
namespace {

TEST(EvictLeastRecentlyUsed, TakesTheOldestThatMayGo) {
  const std::vector<SlotUse> slots = {
      {.last_use = 5}, {.last_use = 1, .evictable = false}, {.last_use = 3}, {.last_use = 3}};
  EXPECT_EQ(EvictLeastRecentlyUsed(slots), 2u);
}

TEST(EvictLeastRecentlyUsed, PrefersSlotsNeverUsed) {
  const std::vector<SlotUse> slots = {{.last_use = 5}, {}, {.last_use = 1}};
  EXPECT_EQ(EvictLeastRecentlyUsed(slots), 1u);
}

TEST(EvictLeastRecentlyUsedDeathTest, NeedsACandidate) {
  const std::vector<SlotUse> slots = {{.evictable = false}};
  EXPECT_DEATH(EvictLeastRecentlyUsed(slots), "internal error");
}

}  // namespace
}  // namespace doppler
