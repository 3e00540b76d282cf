// What a run used is resident when the next one starts.

#include <cstring>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "support/model_case.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

EngineOptions Options(std::size_t slots) {
  EngineOptions options;
  options.with_tokenizer = false;
  options.context = 64;
  options.ubatch = 1;
  options.threads = 2;
  options.most_slots = slots;
  options.warm_start = true;
  return options;
}

class WarmStartTest : public testing::Test {
 protected:
  WarmStartTest() : model_(DataFolder() / "golden" / "qwen3-moe") {}
  fs::path UsageFile() const { return model_.path() / "usage.cache"; }

  // Logits of some tokens by a new engine, and what its cache did.
  std::vector<float> Run(std::size_t slots, ExpertCacheStats& stats, bool save) {
    Engine engine(model_.path(), Options(slots));
    engine.FinishWarmStart();
    const std::vector<float> logits = AllLogits(engine, Tokens(), Tokens().size());
    stats = engine.experts()->stats();
    if (save) {
      EXPECT_TRUE(engine.SaveUsage());
    }
    return logits;
  }
  static std::vector<TokenId> Tokens() { return std::vector<TokenId>(20, 7); }

  ConvertedModel model_;
};

TEST_F(WarmStartTest, ReadsWhatWasUsedAndChangesNoBit) {
  ExpertCacheStats cold;
  ExpertCacheStats warm;
  const std::vector<float> expected = Run(48, cold, true);
  EXPECT_GT(cold.misses, 0u);
  EXPECT_EQ(cold.read_ahead, 0u);
  const std::vector<float> logits = Run(48, warm, false);
  EXPECT_EQ(std::memcmp(logits.data(), expected.data(), expected.size() * sizeof(float)), 0);
  EXPECT_EQ(warm.read_ahead, cold.misses);
  EXPECT_EQ(warm.read_ahead_used, cold.misses);
  EXPECT_EQ(warm.misses, 0u);
}

TEST_F(WarmStartTest, FillsNoMoreThanTheSlots) {
  ExpertCacheStats stats;
  const std::vector<float> expected = Run(48, stats, true);
  const std::vector<float> logits = Run(6, stats, false);
  EXPECT_GE(stats.read_ahead, 1u);
  EXPECT_LE(stats.read_ahead, 6u);
  EXPECT_EQ(std::memcmp(logits.data(), expected.data(), expected.size() * sizeof(float)), 0);
}

TEST_F(WarmStartTest, ADamagedOrForeignFileMeansAColdStart) {
  ExpertCacheStats stats;
  Run(48, stats, true);
  FlipBit(UsageFile(), 60);
  Run(48, stats, false);
  EXPECT_EQ(stats.read_ahead, 0u);
  std::ofstream(UsageFile()) << "something else";
  Run(48, stats, false);
  EXPECT_EQ(stats.read_ahead, 0u);
}

TEST_F(WarmStartTest, AFolderThatCannotBeWrittenIsNoError) {
  fs::create_directory(UsageFile());
  Engine engine(model_.path(), Options(48));
  EXPECT_FALSE(engine.SaveUsage());
}

TEST_F(WarmStartTest, ARunMayEndBeforeItsWarmStart) {
  ExpertCacheStats stats;
  Run(48, stats, true);
  EngineOptions options = Options(48);
  for (int i = 0; i < 5; ++i) Engine engine(model_.path(), options);
  Engine engine(model_.path(), options);
  GreedyTokens(engine, {1, 2, 3}, 4);
}

}  // namespace
}  // namespace doppler
