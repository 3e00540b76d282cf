#include "tier/kv_pool.h"

#include <set>

#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

constexpr KvShape kShape = {
    .layers = 3, .kv_heads = 2, .head_dim = 8, .dtype = DType::kF16, .block_tokens = 4};

TEST(KvShape, CountsBytes) {
  EXPECT_EQ(kShape.LayerBytes(), 2u * 4 * 8 * 2);
  EXPECT_EQ(kShape.BlockBytes(), 2u * 3 * kShape.LayerBytes());
  EXPECT_EQ(kShape.BlocksFor(0), 0);
  EXPECT_EQ(kShape.BlocksFor(4), 1);
  EXPECT_EQ(kShape.BlocksFor(5), 2);
}

TEST(KvPool, RegionsDoNotOverlap) {
  MemoryBudget budget(kMiB);
  KvPool pool(kShape, 5, budget);
  EXPECT_EQ(budget.reserved(), 5 * kShape.BlockBytes());
  std::set<std::byte*> starts;
  for (int block = 0; block < 5; ++block) {
    for (int layer = 0; layer < 3; ++layer) {
      starts.insert(pool.Keys(KvBlockId(block), LayerId(layer)));
      starts.insert(pool.Values(KvBlockId(block), LayerId(layer)));
    }
  }
  ASSERT_EQ(starts.size(), 30u);
  std::byte* previous = nullptr;
  for (std::byte* start : starts) {
    if (previous != nullptr) {
      EXPECT_EQ(start - previous, 128);
    }
    previous = start;
  }
}

TEST(KvPool, RefusesMoreThanTheBudget) {
  MemoryBudget budget(kShape.BlockBytes());
  EXPECT_THROW(KvPool(kShape, 2, budget), Error);
}

TEST(KvTable, GrowsShrinksAndReturnsBlocks) {
  MemoryBudget budget(kMiB);
  KvPool pool(kShape, 3, budget);
  KvTable first(pool, 100);
  EXPECT_TRUE(first.Grow(5));
  EXPECT_EQ(first.View(LayerId(1)).keys.size(), 2u);
  {
    KvTable second(pool, 4);
    EXPECT_FALSE(second.Grow(5));  // more than it may hold
    EXPECT_TRUE(second.Grow(4));
    EXPECT_FALSE(first.Grow(9));  // the pool is empty
    EXPECT_EQ(first.View(LayerId(0)).values.size(), 2u);
  }
  EXPECT_TRUE(first.Grow(12));
  first.Shrink(4);
  EXPECT_EQ(first.View(LayerId(2)).keys.size(), 1u);
  EXPECT_TRUE(first.Grow(12));
}

}  // namespace
}  // namespace doppler
