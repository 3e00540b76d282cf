#include "model/stored_layout.h"

#include <map>

#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "format/manifest.h"
#include "model/weights.h"

namespace doppler {
namespace {

constexpr WeightLayout kGrouped = WeightLayout::kRows16;
constexpr WeightLayout kInRows = WeightLayout::kRow;

TensorSpec MatrixSpec(const std::string& name, TensorRole role, std::int64_t rows) {
  return {.name = name, .shape = {rows, 512}, .role = role};
}

TEST(StoredLayout, GroupsMatricesThatAreReadWhole) {
  const auto layout = [](const std::string& name, TensorRole role) {
    return StoredLayout(MatrixSpec(name, role, 64), DType::kQ8_0, kGrouped);
  };
  EXPECT_EQ(layout("layers.0.mlp.experts.3.down_proj.weight", TensorRole::kExpert), kGrouped);
  EXPECT_EQ(layout("layers.0.self_attn.q_proj.weight", TensorRole::kProjection), kGrouped);
  EXPECT_EQ(layout("layers.0.self_attn.kv_a_proj_with_mqa.weight", TensorRole::kProjection),
            kGrouped);
  EXPECT_EQ(layout("lm_head.weight", TensorRole::kProjection), kGrouped);
  EXPECT_EQ(layout("embed_tokens.weight", TensorRole::kEmbedding), kInRows);
  EXPECT_EQ(layout("layers.0.mlp.gate.weight", TensorRole::kRouter), kInRows);
  for (const char* part : {"kv_b_proj", "k_b_proj", "v_b_proj"}) {
    EXPECT_EQ(layout(fmt::format("layers.0.self_attn.{}.weight", part), TensorRole::kProjection),
              kInRows);
  }
}

TEST(StoredLayout, LeavesWhatHasNoGroupsInRows) {
  const auto layout = [](DType dtype, std::int64_t rows, WeightLayout wanted) {
    return StoredLayout(MatrixSpec("lm_head.weight", TensorRole::kProjection, rows), dtype, wanted);
  };
  EXPECT_EQ(layout(DType::kQ5_K, 48, kGrouped), kGrouped);
  EXPECT_EQ(layout(DType::kQ6_K, 48, kGrouped), WeightLayout::kRows16Steps);
  EXPECT_EQ(layout(DType::kQ6_K, 50, kGrouped), kInRows);
  EXPECT_EQ(layout(DType::kBf16, 48, kGrouped), kInRows);
  EXPECT_EQ(layout(DType::kF8E4M3, 48, kGrouped), kInRows);
  EXPECT_EQ(layout(DType::kQ6_K, 48, kInRows), kInRows);
}

// A manifest's tensors with the shapes that a model of latent attention needs, all q8_0.
Manifest LatentManifest(const ModelConfig& config) {
  Manifest manifest;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    TensorEntry& tensor = manifest.tensors[spec.name];
    tensor.shape = spec.shape;
    tensor.dtype = DType::kQ8_0;
  }
  return manifest;
}

TEST(CheckShapes, RefusesGroupsWhereRowsArePicked) {
  ModelConfig config;
  config.num_layers = 1;
  config.model_dim = 64;
  config.vocab_size = 32;
  config.num_heads = config.num_kv_heads = 2;
  config.head_dim = 48;
  config.rope_head_dim = 16;
  config.value_head_dim = 32;
  config.kv_lora_rank = 32;
  config.ffn_dim = 96;
  const auto message = [&](const std::string& name, WeightLayout layout) {
    Manifest manifest = LatentManifest(config);
    manifest.tensors.at(name).layout = layout;
    return doppler::MessageOf([&] { CheckShapes(manifest, config); });
  };
  EXPECT_EQ(message("layers.0.mlp.down_proj.weight", kGrouped), "no error");
  EXPECT_EQ(message("layers.0.self_attn.kv_a_proj_with_mqa.weight", kGrouped), "no error");
  EXPECT_EQ(message("lm_head.weight", kGrouped), "no error");
  for (const std::string name : {"embed_tokens.weight", "layers.0.self_attn.kv_b_proj.weight"}) {
    EXPECT_EQ(message(name, kInRows), "no error");
    EXPECT_EQ(message(name, kGrouped)
                  .find("the tensor '" + name +
                        "' is stored in the layout "
                        "'rows16'"),
              0u);
  }
  EXPECT_NE(message("lm_head.weight", WeightLayout::kColumn).find("'column'"), std::string::npos);
}

}  // namespace
}  // namespace doppler
