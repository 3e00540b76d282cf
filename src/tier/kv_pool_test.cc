#include "tier/kv_pool.h"

#include <map>

#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

constexpr KvLayerShape kFull = {.kv_heads = 2, .key_dim = 8, .value_dim = 8};
constexpr KvLayerShape kWindowed = {.kv_heads = 2, .key_dim = 8, .value_dim = 8, .window = 6};
constexpr KvLayerShape kLatent = {
    .kv_heads = 1, .key_dim = 12, .value_dim = 8, .shares_keys = true};

// Blocks of 4 positions; a window of 6 and a ubatch of 3 need 8 positions, and a block more.
KvShape Shape(int context) {
  return {.layers = {kFull, kWindowed, kLatent},
          .dtype = DType::kF16,
          .block_tokens = 4,
          .ubatch = 3,
          .context = context};
}

TEST(KvShape, CountsBytes) {
  const KvShape shape = Shape(40);
  EXPECT_EQ(shape.BlocksFor(0), 0);
  EXPECT_EQ(shape.BlocksFor(4), 1);
  EXPECT_EQ(shape.BlocksFor(5), 2);
  EXPECT_EQ(shape.KeyBytes(LayerId(0)), 2u * 4 * 8 * 2);
  EXPECT_EQ(shape.KeyBytes(LayerId(2)), 4u * 12 * 2);
  EXPECT_EQ(shape.ValueBytes(LayerId(2)), 0u);
  EXPECT_EQ(shape.RingBlocks(LayerId(0)), 0);
  EXPECT_EQ(shape.RingBlocks(LayerId(1)), 3);
  EXPECT_EQ(shape.BlockBytes(), 2u * 128 + 96);
  EXPECT_EQ(shape.RingBytes(), 3u * 2 * 128);
  EXPECT_EQ(shape.TotalBytes(2), 2 * (10 * shape.BlockBytes() + shape.RingBytes()));
  // A ring as long as the context would be is none.
  EXPECT_EQ(Shape(12).RingBytes(), 0u);
  EXPECT_EQ(Shape(12).BlockBytes(), 4u * 128 + 96);
}

// Every region's start and length.
std::map<const std::byte*, Bytes> Regions(const KvTable& table, const KvShape& shape) {
  std::map<const std::byte*, Bytes> regions;
  for (int layer = 0; layer < 3; ++layer) {
    const KvView view = table.View(LayerId(layer));
    for (const std::byte* keys : view.keys) regions[keys] = shape.KeyBytes(LayerId(layer));
    for (const std::byte* values : view.values) regions[values] = shape.ValueBytes(LayerId(layer));
  }
  return regions;
}

TEST(KvTable, RegionsDoNotOverlap) {
  const KvShape shape = Shape(40);
  MemoryBudget budget(kMiB);
  KvPool pool(shape, 2, budget);
  EXPECT_EQ(budget.reserved(), shape.TotalBytes(2));
  KvTable first(pool);
  KvTable second(pool);
  ASSERT_TRUE(first.Grow(20) && second.Grow(20) && first.Grow(40) && second.Grow(40));
  std::map<const std::byte*, Bytes> all = Regions(first, shape);
  all.merge(Regions(second, shape));
  // Each session: 10 blocks of keys and values, 10 of keys alone, and a ring of 3.
  ASSERT_EQ(all.size(), 2u * (2 * 10 + 10 + 2 * 3));
  const std::byte* end = nullptr;
  for (const auto& [start, size] : all) {
    if (end != nullptr) {
      EXPECT_GE(start, end);
    }
    end = start + size;
  }
}

TEST(KvPool, RefusesMoreThanTheBudget) {
  MemoryBudget budget(Shape(40).TotalBytes());
  EXPECT_THROW(KvPool(Shape(40), 2, budget), Error);
}

TEST(KvTable, GrowsShrinksAndReturnsBlocks) {
  MemoryBudget budget(kMiB);
  KvPool pool(Shape(12), 1, budget);
  KvTable first(pool);
  EXPECT_FALSE(first.Grow(13));  // more than the context
  EXPECT_TRUE(first.Grow(5));
  EXPECT_EQ(first.View(LayerId(1)).keys.size(), 2u);
  {
    KvTable second(pool);
    EXPECT_TRUE(second.Grow(4));
    EXPECT_FALSE(first.Grow(9));  // the pool is empty
    EXPECT_EQ(first.View(LayerId(0)).values.size(), 2u);
  }
  EXPECT_TRUE(first.Grow(12));
  first.Shrink(4);
  EXPECT_EQ(first.View(LayerId(2)).keys.size(), 1u);
  EXPECT_TRUE(first.View(LayerId(2)).SharesKeys());
  EXPECT_TRUE(first.Grow(12));
}

TEST(KvTable, ARingIsOneSessionsAndComesBack) {
  MemoryBudget budget(kMiB);
  KvPool pool(Shape(40), 1, budget);
  {
    KvTable first(pool);
    EXPECT_TRUE(first.Grow(30));
    EXPECT_EQ(first.View(LayerId(1)).keys.size(), 3u);
    KvTable second(pool);
    EXPECT_FALSE(second.Grow(1));
  }
  KvTable third(pool);
  EXPECT_TRUE(third.Grow(1));
}

// Three blocks of four: with position 29 written, 28 to 31 have taken the place of 16 to 19.
TEST(KvTable, KnowsWhatARingHasForgotten) {
  MemoryBudget budget(kMiB);
  KvPool pool(Shape(40), 1, budget);
  KvTable table(pool);
  ASSERT_TRUE(table.Grow(30));
  EXPECT_TRUE(table.Holds(30));
  EXPECT_TRUE(table.Holds(25));   // sees 20 to 25
  EXPECT_FALSE(table.Holds(24));  // sees 19
  // Going back does not bring it back.
  table.Shrink(26);
  EXPECT_FALSE(table.Holds(24));
  table.Shrink(0);
  EXPECT_TRUE(table.Holds(0));
}

}  // namespace
}  // namespace doppler
