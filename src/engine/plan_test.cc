#include "engine/plan.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "engine/estimate.h"
#include "engine/layer_choice.h"

namespace doppler {
namespace {

// About the shape of Qwen3-30B-A3B.
ModelConfig Config() {
  ModelConfig config;
  config.family = "qwen3_moe";
  config.num_layers = 48;
  config.model_dim = 2048;
  config.num_heads = 32;
  config.num_kv_heads = 4;
  config.head_dim = 128;
  config.vocab_size = 151936;
  config.context_length = 40960;
  config.num_experts = 128;
  config.experts_per_token = 8;
  config.expert_ffn_dim = 768;
  config.norm_epsilon = 1e-6f;
  config.rope_theta = 1e6;
  config.query_key_norm = true;
  return config;
}

Bytes Scratch(const KernelLimits& limits) {
  return static_cast<Bytes>(limits.tokens) * static_cast<Bytes>(limits.cols);
}

PlanResult Plan(const PlanRequest& request) {
  const ModelConfig config = Config();
  return PlanMemory(config, SizesOfConfig(config, FormatsFromBf16(config, DType::kQ4_K)), request,
                    Scratch);
}

TEST(SizesOfConfig, CountsEveryByteOfTheShape) {
  const ModelSizes sizes = SizesOfConfig(Config(), FormatsFromBf16(Config(), DType::kQ4_K));
  // Three projections of 768 x 2048 values in blocks of 256 values and 144 bytes.
  EXPECT_EQ(sizes.LargestRecord(), 3u * 768 * 2048 / 256 * 144);
  EXPECT_EQ(sizes.records, 48u * 128);
  EXPECT_EQ(sizes.experts_total, sizes.LargestRecord() * sizes.records);
  EXPECT_EQ(sizes.embedding, AlignUp(151936u * 2048 / 256 * 210, 4096));  // in q6_k
  const ModelSizes full = SizesOfConfig(Config(), FormatsFromBf16(Config(), std::nullopt));
  EXPECT_EQ(full.LargestRecord(), 3u * 768 * 2048 * 2);
  EXPECT_EQ(full.embedding, 151936u * 2048 * 2);
}

// About the shape of Llama 3.1 8B.
PlanResult PlanDense(const PlanRequest& request) {
  ModelConfig config = Config();
  config.family = "llama";
  config.num_layers = 32;
  config.model_dim = 4096;
  config.ffn_dim = 14336;
  config.num_experts = 0;
  config.experts_per_token = 0;
  return PlanMemory(config, SizesOfConfig(config, FormatsFromBf16(config, std::nullopt)), request,
                    Scratch);
}

TEST(PlanMemory, StreamsLayersThatDoNotFit) {
  const MemoryPlan whole = *PlanDense({.budget = 24 * kGiB}).plan;
  EXPECT_TRUE(whole.streamed.empty());
  EXPECT_EQ(whole.stream, 0u);
  Bytes less = 0;
  for (Bytes budget = 14 * kGiB; budget >= 5 * kGiB; budget -= kGiB) {
    const MemoryPlan plan = *PlanDense({.budget = budget}).plan;
    SCOPED_TRACE(FormatSize(budget));
    EXPECT_LE(plan.Total(), budget);
    EXPECT_EQ(plan.dense + plan.streamed_per_pass, whole.dense);
    const Bytes layer = plan.streamed_per_pass / plan.streamed.size();
    EXPECT_EQ(plan.stream, 2 * layer);
    EXPECT_GT(plan.streamed_per_pass, less);
    less = plan.streamed_per_pass;
    // No room for another layer is left.
    EXPECT_GT(plan.Total() + layer + layer / 256, budget);
  }
}

TEST(PlanMemory, TheSmallestBudgetOfADenseModelHoldsTwoLayers) {
  const Bytes smallest = PlanDense({.budget = 0}).smallest;
  EXPECT_FALSE(PlanDense({.budget = smallest - 1}).plan);
  const MemoryPlan plan = *PlanDense({.budget = smallest}).plan;
  EXPECT_EQ(plan.streamed.size(), 32u);
  EXPECT_EQ(plan.stream, 2 * plan.streamed_per_pass / 32);
  EXPECT_EQ(plan.Total(), smallest);
}

TEST(PlanMemory, KeepsNoMoreLayersThanAsked) {
  const MemoryPlan plan = *PlanDense({.budget = 64 * kGiB, .most_resident_layers = 20}).plan;
  EXPECT_EQ(plan.streamed.size(), 12u);
}

TEST(LayerChoices, SpreadsResidentLayersEvenly) {
  const std::vector<Bytes> layers(12, 100);
  const std::vector<LayerChoice> choices = LayerChoices(7, layers, 12);
  ASSERT_EQ(choices.size(), 12u);
  for (const LayerChoice& choice : choices) {
    EXPECT_EQ(choice.resident + choice.streamed, 7u + 1200u);
    EXPECT_EQ(choice.buffers, 200u);
    EXPECT_EQ(choice.streamed, 100 * choice.streamed_layers.size());
    int resident = 0;
    for (int layer = 0; layer < 12; ++layer) {
      const bool streamed = std::ranges::count(choice.streamed_layers, LayerId(layer)) > 0;
      resident += streamed ? 0 : 1;
      const double share = static_cast<double>(choice.resident - 7) / 1200 * (layer + 1);
      EXPECT_NEAR(resident, share, 1);
    }
  }
}

TEST(LayerChoices, ALargeLayerMayStaySoThatBuffersAreSmall) {
  std::vector<Bytes> layers(10, 100);
  layers[0] = 400;
  const auto choices = LayerChoices(0, layers, 10);
  const auto least = std::ranges::min_element(
      choices, {}, [](const LayerChoice& choice) { return choice.resident + choice.buffers; });
  EXPECT_EQ(least->resident, 400u);
  EXPECT_EQ(least->buffers, 200u);
  EXPECT_EQ(least->streamed_layers.front(), LayerId(1));
}

TEST(PlanMemory, NeverSpendsMoreThanTheBudget) {
  for (Bytes budget = 3 * kGiB; budget <= 40 * kGiB; budget += budget / 8) {
    const PlanResult result = Plan({.budget = budget, .process = 20 * kMiB});
    ASSERT_TRUE(result.plan) << FormatSize(budget);
    EXPECT_LE(result.plan->Total(), budget);
    EXPECT_GE(result.plan->slots, 8u);
    EXPECT_LE(result.plan->slots, 48u * 128);
  }
}

TEST(PlanMemory, SlotsLeaveRoomForThePageCacheOfLargeBudgets) {
  const Bytes record =
      SizesOfConfig(Config(), FormatsFromBf16(Config(), DType::kQ4_K)).LargestRecord();
  const auto left = [](Bytes budget) {
    const PlanResult result = Plan({.budget = budget});
    return budget - result.plan.value().Total();
  };
  EXPECT_GE(left(4 * kGiB), 16 * kMiB);
  EXPECT_LT(left(4 * kGiB), 16 * kMiB + 2 * record);
  EXPECT_GE(left(12 * kGiB), 24 * kMiB);
  EXPECT_LT(left(12 * kGiB), 24 * kMiB + 2 * record);
}

TEST(PlanMemory, TheSmallestBudgetIsAcceptedAndOneByteLessIsNot) {
  const PlanResult refused = Plan({.budget = 100 * kMiB});
  EXPECT_FALSE(refused.plan);
  EXPECT_TRUE(Plan({.budget = refused.smallest}).plan);
  EXPECT_FALSE(Plan({.budget = refused.smallest - 1}).plan);
  EXPECT_EQ(Plan({.budget = refused.smallest}).plan->slots, 8u);
}

TEST(PlanMemory, KeepsWhatTheUserAskedFor) {
  const PlanRequest request{.budget = 8 * kGiB, .context = 5000, .ubatch = 33};
  const MemoryPlan plan = *Plan(request).plan;
  EXPECT_EQ(plan.context, 5000);
  EXPECT_EQ(plan.ubatch, 33);
  EXPECT_EQ(Plan({.budget = 8 * kGiB, .most_slots = 100}).plan->slots, 100u);
}

TEST(PlanMemory, AMoreGenerousContextNeedsMore) {
  const Bytes little = Plan({.budget = 0, .context = 256}).smallest;
  const Bytes much = Plan({.budget = 0, .context = 32768}).smallest;
  // 48 layers x 2 x 4 heads x 128 values of two bytes per position.
  EXPECT_GE(much - little, (32768u - 256) * 48 * 2 * 4 * 128 * 2);
}

TEST(PlanMemory, HugeBudgetsHoldEverything) {
  const MemoryPlan plan = *Plan({.budget = 1024 * kGiB}).plan;
  EXPECT_EQ(plan.slots, plan.records);
  EXPECT_EQ(plan.context, 8192);
}

TEST(AutomaticBudget, LeavesRoomForTheSystem) {
  MemoryInfo memory;
  memory.usable = 16 * kGiB;
  EXPECT_EQ(AutomaticBudget(memory), 14 * kGiB);
  memory.usable = 256 * kGiB;
  EXPECT_EQ(AutomaticBudget(memory), 252 * kGiB);
  memory.usable = 10 * kMiB;
  EXPECT_EQ(AutomaticBudget(memory), 0u);
}

TEST(ExpectedHitRate, FollowsTheMeasuredPoints) {
  EXPECT_DOUBLE_EQ(ExpectedHitRate(6144, 6144, 384), 1);
  EXPECT_NEAR(ExpectedHitRate(737, 6144, 384), 0.56, 0.005);
  EXPECT_NEAR(ExpectedHitRate(1475, 6144, 384), 0.80, 0.005);
  EXPECT_EQ(ExpectedHitRate(383, 6144, 384), 0);
  EXPECT_EQ(ExpectedHitRate(0, 0, 0), 1);
}

TEST(EstimateSpeed, AddsComputingAndReading) {
  const SpeedEstimate estimate = EstimateSpeed({.dense_per_token = 1'000'000'000,
                                                .experts_per_token = 1'000'000'000,
                                                .slots_per_token = 384,
                                                .slots = 383,
                                                .records = 6144,
                                                .memory_rate = 20e9,
                                                .disk_rate = 1e9});
  EXPECT_NEAR(estimate.compute_seconds, 0.1, 1e-9);
  EXPECT_NEAR(estimate.read_seconds, 1.0, 1e-9);
  EXPECT_NEAR(estimate.tokens_per_second, 1 / 1.1, 1e-9);
}

TEST(EstimateSpeed, StreamedLayersAreReadWhileOthersAreComputedWith) {
  SpeedInputs inputs{.dense_per_token = 4'000'000'000,
                     .streamed_per_token = 1'000'000'000,
                     .memory_rate = 20e9,
                     .disk_rate = 1e9};
  EXPECT_NEAR(EstimateSpeed(inputs).tokens_per_second, 1, 1e-9);
  inputs.disk_rate = 10e9;
  EXPECT_NEAR(EstimateSpeed(inputs).tokens_per_second, 5, 1e-9);
}

}  // namespace
}  // namespace doppler
