// Every model family against logits, greedy tokens and router choices that Hugging Face
// transformers computed in float32 from the same bf16 weights.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <tuple>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "backend/kernel_cases.h"
#include "base/float16.h"
#include "format/safetensors.h"
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

void ExpectGolden(const fs::path& model, const std::string& name, BackendKind backend,
                  std::optional<CpuPath> path = std::nullopt) {
  const GoldenCase golden = LoadGoldenCase(name);
  RouteRecorder recorder;
  EngineOptions options = Options(backend);
  options.cpu_path = path;
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

// The values of the hub's MXFP4: signs and magnitudes of nibbles, two to a byte, times a power of
// two for each 32.
std::vector<float> ValuesOfMxfp4(const SafetensorsFile& file, const std::string& name) {
  constexpr std::array kMagnitudes = {0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F};
  const std::vector<std::byte> nibbles = file.Read(name + "_blocks", "U8");
  const std::vector<std::byte> exponents = file.Read(name + "_scales", "U8");
  std::vector<float> values(2 * nibbles.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto both = std::to_integer<unsigned>(nibbles[i / 2]);
    const unsigned code = (i % 2 == 0 ? both : both >> 4) & 15;
    const float magnitude = kMagnitudes[code & 7];
    values[i] = std::ldexp(code > 7 ? -magnitude : magnitude,
                           std::to_integer<int>(exponents[i / 32]) - 127);
  }
  return values;
}

// Adds a layer's stack as the float checkpoints of GPT-OSS have it: a column for each row.
void AddColumns(const SafetensorsFile& file, const std::string& name,
                std::vector<std::vector<std::byte>>& bytes,
                std::vector<SafetensorsOutput>& tensors) {
  const std::vector<std::int64_t>& shape = file.Tensor(name + "_blocks").shape;
  const auto experts = static_cast<std::size_t>(shape[0]);
  const auto rows = static_cast<std::size_t>(shape[1]);
  const auto cols = static_cast<std::size_t>(shape[2]) * 32;
  const std::vector<float> values = ValuesOfMxfp4(file, name);
  std::vector<std::byte>& out = bytes.emplace_back(values.size() * 2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t row = i / cols % rows;
    const std::size_t column_first = (i / (rows * cols) * cols + i % cols) * rows + row;
    const std::uint16_t value = FloatToBf16(values[i]);
    std::memcpy(&out[2 * column_first], &value, 2);
  }
  tensors.push_back({.name = name,
                     .dtype = "BF16",
                     .shape = {static_cast<std::int64_t>(experts), static_cast<std::int64_t>(cols),
                               static_cast<std::int64_t>(rows)},
                     .values = out});
}

// Writes the gpt-oss case with bf16 in place of MXFP4, which changes no value.
void WriteFloatGptOss(const fs::path& folder) {
  const fs::path golden = DataFolder() / "golden" / "gpt-oss";
  fs::create_directory(folder);
  fs::copy(golden / "tokenizer.json", folder / "tokenizer.json");
  auto config = nlohmann::json::parse(ReadTextFile(golden / "config.json"));
  config.erase("quantization_config");
  WriteTextFile(folder / "config.json", config.dump());
  const SafetensorsFile file(golden / "model.safetensors");
  std::vector<std::vector<std::byte>> bytes;
  bytes.reserve(file.tensors().size());
  std::vector<SafetensorsOutput> tensors;
  for (const auto& [name, tensor] : file.tensors()) {
    if (name.ends_with("_scales")) continue;
    if (name.ends_with("_blocks")) {
      AddColumns(file, name.substr(0, name.size() - std::strlen("_blocks")), bytes, tensors);
    } else {
      bytes.push_back(file.Read(name, tensor.dtype));
      tensors.push_back({name, tensor.dtype, tensor.shape, bytes.back()});
    }
  }
  WriteSafetensors(folder / "model.safetensors", tensors);
}

using Case = std::tuple<std::string, ShardingStrategy, BackendKind>;

class FamilyTest : public testing::TestWithParam<Case> {};

TEST_P(FamilyTest, MatchesTheReference) {
  const auto& [name, sharding, backend] = GetParam();
  const ConvertedModel model(DataFolder() / "golden" / name, sharding);
  ExpectGolden(model.path(), name, backend);
}

TEST(Families, GptOssInFloatMatchesTheReference) {
  const TempFolder folder;
  WriteFloatGptOss(folder.path() / "gpt-oss");
  const ConvertedModel model(folder.path() / "gpt-oss");
  ExpectGolden(model.path(), "gpt-oss", BackendKind::kCpu);
}

// Block types differ in how far each path rounds activations; MXFP4 has to agree on all.
TEST(Families, Mxfp4MatchesTheReferenceOnEveryPath) {
  for (const WeightLayout layout : {WeightLayout::kRow, WeightLayout::kRows16}) {
    SCOPED_TRACE(LayoutName(layout));
    const ConvertedModel model(DataFolder() / "golden" / "gpt-oss", ShardingStrategy::kExpert,
                               std::nullopt, layout);
    EXPECT_EQ(GroupedTensors(model.path()) > 0, layout == WeightLayout::kRows16);
    for (const CpuPath path : RunnableCpuPaths()) {
      ExpectGolden(model.path(), "gpt-oss", BackendKind::kCpu, path);
    }
  }
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
    testing::Combine(testing::Values("llama3", "qwen3", "mixtral", "qwen3-moe", "gpt-oss", "phimoe",
                                     "deepseek-v3", "kimi-k2-fp8"),
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
                         testing::Values("llama3", "qwen3", "mixtral", "qwen3-moe", "gpt-oss",
                                         "phimoe", "deepseek-v3"),
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
