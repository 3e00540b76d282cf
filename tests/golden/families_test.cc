// Every model family against logits, greedy tokens and router choices that Hugging Face
// transformers computed in float32 from the same bf16 weights.

#include <algorithm>
#include <cmath>
#include <tuple>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/model_case.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr float kTolerance = 5e-4f;

float LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  float largest = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, std::abs(a[i] - b[i]));
    if (!std::isfinite(a[i])) return INFINITY;
  }
  return largest;
}

EngineOptions Options(BackendKind backend) {
  EngineOptions options;
  options.backend = backend;
  options.threads = 2;
  options.logit_rows = 7;
  options.kv_dtype = DType::kF32;
  return options;
}

void ExpectGolden(const fs::path& model, const std::string& name, BackendKind backend) {
  const GoldenCase golden = LoadGoldenCase(name);
  RouteRecorder recorder;
  EngineOptions options = Options(backend);
  const bool routed = !golden.router_experts.empty();
  const std::size_t k = routed ? golden.router_experts[0][0].size() : 1;
  options.on_route = recorder.Observer(static_cast<int>(k));
  Engine engine(model, options);
  EXPECT_LT(LargestDifference(AllLogits(engine, golden.input_ids), golden.logits), kTolerance);
  int layer = -1;
  for (const std::vector<std::vector<int>>& of_layer : golden.router_experts) {
    do ++layer;
    while (!engine.config().HasExperts(LayerId(layer)));
    for (std::size_t token = 0; token < of_layer.size(); ++token) {
      ASSERT_EQ(recorder.routes().at({layer, static_cast<int>(token)}), of_layer[token])
          << "layer " << layer << " token " << token;
    }
  }
  EXPECT_EQ(GreedyTokens(engine, golden.input_ids, 24), golden.greedy_ids);
}

using Case = std::tuple<std::string, ShardingStrategy, BackendKind>;

class FamilyTest : public testing::TestWithParam<Case> {};

TEST_P(FamilyTest, MatchesTheReference) {
  const auto& [name, sharding, backend] = GetParam();
  const ConvertedModel model(DataFolder() / "golden" / name, sharding);
  ExpectGolden(model.path(), name, backend);
}

std::string CaseName(const testing::TestParamInfo<Case>& tested) {
  const auto& [name, sharding, backend] = tested.param;
  std::string text = name + "_" + std::string(StrategyName(sharding)) +
                     (backend == BackendKind::kCpu ? "_cpu" : "_reference");
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
}

INSTANTIATE_TEST_SUITE_P(
    Families, FamilyTest,
    testing::Combine(testing::Values("llama3", "qwen3", "mixtral", "qwen3-moe", "deepseek-v3",
                                     "kimi-k2-fp8"),
                     testing::Values(ShardingStrategy::kExpert, ShardingStrategy::kLayer,
                                     ShardingStrategy::kFixed),
                     testing::Values(BackendKind::kReference, BackendKind::kCpu)),
    CaseName);

class GgufFamilyTest : public testing::TestWithParam<std::string> {};

TEST_P(GgufFamilyTest, MatchesTheReference) {
  const fs::path file = DataFolder() / "golden" / "gguf" / (GetParam() + "-bf16.gguf");
  const ConvertedModel model(file);
  ExpectGolden(model.path(), GetParam(), BackendKind::kCpu);
}

INSTANTIATE_TEST_SUITE_P(Families, GgufFamilyTest,
                         testing::Values("llama3", "qwen3", "mixtral", "qwen3-moe", "deepseek-v3"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// The newer hub style keeps the rotary settings in one object, `rope_parameters`.
TEST(ConfigStyles, RopeParametersGiveTheSameModel) {
  const TempFolder folder;
  const fs::path copy = folder.path() / "llama3";
  fs::copy(DataFolder() / "golden" / "llama3", copy);
  auto config = nlohmann::json::parse(ReadTextFile(copy / "config.json"));
  config["rope_parameters"] = config.at("rope_scaling");
  config["rope_parameters"]["rope_theta"] = config.at("rope_theta");
  config.erase("rope_scaling");
  config.erase("rope_theta");
  fs::remove(copy / "config.json");
  WriteTextFile(copy / "config.json", config.dump());
  const ConvertedModel model(copy);
  ExpectGolden(model.path(), "llama3", BackendKind::kCpu);
}

}  // namespace
}  // namespace doppler
