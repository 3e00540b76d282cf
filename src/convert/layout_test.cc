#include "convert/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "format/merkle.h"

namespace doppler {
namespace {

using testing::HasSubstr;

// An embedding, two layers of one dense tensor and two experts, a norm.
std::vector<LayoutTensor> Sample() {
  std::vector<LayoutTensor> tensors = {{.size = 10000}};
  for (int layer = 0; layer < 2; ++layer) {
    tensors.push_back({.size = 5000, .layer = layer});
    for (int expert = 0; expert < 2; ++expert) {
      for (const Bytes size : {4096, 4096, 5000}) {
        tensors.push_back({.size = size, .layer = layer, .expert = expert});
      }
    }
  }
  tensors.push_back({.size = 256});
  return tensors;
}
constexpr Bytes kRecord = 4096 + 4096 + 8192;

std::vector<Bytes> Offsets(const PlannedShard& shard) {
  std::vector<Bytes> offsets;
  for (const PlacedTensor& placed : shard.tensors) offsets.push_back(placed.offset);
  return offsets;
}

// Every tensor once, none overlapping, records aligned and contiguous.
void ExpectSound(const std::vector<LayoutTensor>& tensors,
                 const std::vector<PlannedShard>& shards) {
  std::vector<int> seen(tensors.size());
  for (const PlannedShard& shard : shards) {
    Bytes end = 0;
    EXPECT_EQ(shard.size % kDirectAlignment, 0u);
    for (std::size_t i = 0; i < shard.tensors.size(); ++i) {
      const PlacedTensor& placed = shard.tensors[i];
      const LayoutTensor& tensor = tensors[placed.tensor];
      ++seen[placed.tensor];
      EXPECT_GE(placed.offset, end);
      EXPECT_EQ(placed.offset % kDirectAlignment, 0u);
      const bool inside_record = tensor.expert >= 0 && placed.tensor > 0 &&
                                 tensors[placed.tensor - 1].layer == tensor.layer &&
                                 tensors[placed.tensor - 1].expert == tensor.expert;
      if (inside_record) {
        EXPECT_EQ(placed.offset, AlignUp(end, kDirectAlignment));
      } else if (tensor.expert >= 0 ||
                 (i > 0 && tensors[shard.tensors[i - 1].tensor].expert >= 0)) {
        EXPECT_EQ(placed.offset % kLeafBytes, 0u);
      }
      end = placed.offset + tensor.size;
    }
    EXPECT_LE(end, shard.size);
  }
  EXPECT_EQ(seen, std::vector<int>(tensors.size(), 1));
}

TEST(PlanLayout, OneShardForEachExpert) {
  const auto tensors = Sample();
  const auto shards = PlanLayout(tensors, {.strategy = ShardingStrategy::kExpert});
  ExpectSound(tensors, shards);
  ASSERT_EQ(shards.size(), 5u);
  EXPECT_EQ(shards[0].type, ShardType::kDense);
  EXPECT_EQ(Offsets(shards[0]), (std::vector<Bytes>{0, 12288, 20480, 28672}));
  EXPECT_EQ(shards[0].size, 32768u);
  EXPECT_EQ(shards[3].expert_key, "1_0");
  EXPECT_EQ(shards[3].size, kRecord);
  EXPECT_EQ(Offsets(shards[3]), (std::vector<Bytes>{0, 4096, 8192}));
}

TEST(PlanLayout, DenseShardsKeepTheirSize) {
  const auto tensors = Sample();
  const auto shards =
      PlanLayout(tensors, {.strategy = ShardingStrategy::kExpert, .shard_size = 16384});
  ExpectSound(tensors, shards);
  ASSERT_EQ(shards.size(), 7u);
  EXPECT_EQ(shards[0].size, 12288u);
  EXPECT_EQ(shards[1].size, 16384u);
  EXPECT_EQ(shards[2].size, 4096u);
  const auto tiny = PlanLayout(tensors, {.strategy = ShardingStrategy::kExpert, .shard_size = 1});
  ExpectSound(tensors, tiny);
  EXPECT_EQ(tiny.size(), 8u);
}

TEST(PlanLayout, OneShardForEachLayer) {
  const auto tensors = Sample();
  const auto shards = PlanLayout(tensors, {.strategy = ShardingStrategy::kLayer});
  ExpectSound(tensors, shards);
  ASSERT_EQ(shards.size(), 3u);
  EXPECT_EQ(shards[0].type, ShardType::kDense);
  EXPECT_EQ(Offsets(shards[0]), (std::vector<Bytes>{0, 12288}));
  EXPECT_EQ(shards[1].type, ShardType::kLayer);
  EXPECT_EQ(Offsets(shards[1]), (std::vector<Bytes>{0, 16384, 20480, 24576, 32768, 36864, 40960}));
  EXPECT_EQ(shards[2].size, 49152u);
}

TEST(PlanLayout, FixedShardsAreEqual) {
  const auto tensors = Sample();
  for (const Bytes size : {Bytes{0}, kRecord, Bytes{20480}, Bytes{65536}, Bytes{1} << 20}) {
    const auto shards =
        PlanLayout(tensors, {.strategy = ShardingStrategy::kFixed, .shard_size = size});
    ExpectSound(tensors, shards);
    for (const PlannedShard& shard : shards) {
      EXPECT_EQ(shard.type, ShardType::kFixed);
      EXPECT_EQ(shard.size, size == 0 ? shards[0].size : size);
    }
  }
}

TEST(PlanLayout, RefusesFixedSizesThatCannotBe) {
  const auto message = [](Bytes size) -> std::string {
    try {
      PlanLayout(Sample(), {.strategy = ShardingStrategy::kFixed, .shard_size = size});
    } catch (const UsageError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message(4096), HasSubstr("would do is 16384"));
  EXPECT_THAT(message(16385), HasSubstr("20480 would do"));
  EXPECT_EQ(message(16384), "no error");
}

}  // namespace
}  // namespace doppler
