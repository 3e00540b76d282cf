// Configurations with latent attention.

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error_testing.h"
#include "io/file.h"
#include "model/config.h"
#include "model/tensors.h"

namespace doppler {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// DeepSeek-V3, as on the hub.
json DeepSeek() {
  return {{"model_type", "deepseek_v3"},
          {"hidden_size", 7168},
          {"num_hidden_layers", 61},
          {"num_attention_heads", 128},
          {"num_key_value_heads", 128},
          {"intermediate_size", 18432},
          {"moe_intermediate_size", 2048},
          {"n_routed_experts", 256},
          {"n_shared_experts", 1},
          {"num_experts_per_tok", 8},
          {"n_group", 8},
          {"topk_group", 4},
          {"first_k_dense_replace", 3},
          {"moe_layer_freq", 1},
          {"norm_topk_prob", true},
          {"routed_scaling_factor", 2.5},
          {"scoring_func", "sigmoid"},
          {"topk_method", "noaux_tc"},
          {"q_lora_rank", 1536},
          {"kv_lora_rank", 512},
          {"qk_nope_head_dim", 128},
          {"qk_rope_head_dim", 64},
          {"v_head_dim", 128},
          {"num_nextn_predict_layers", 1},
          {"vocab_size", 129280},
          {"max_position_embeddings", 163840},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 10000},
          {"rope_scaling",
           {{"type", "yarn"},
            {"factor", 40},
            {"beta_fast", 32},
            {"beta_slow", 1},
            {"mscale", 1.0},
            {"mscale_all_dim", 1.0},
            {"original_max_position_embeddings", 4096}}},
          {"hidden_act", "silu"},
          {"tie_word_embeddings", false}};
}

// DeepSeek-V2-Lite, as on the hub, as far as it differs.
json DeepSeekLite() {
  json config = DeepSeek();
  config["model_type"] = "deepseek_v2";
  config["q_lora_rank"] = nullptr;
  config["scoring_func"] = "softmax";
  config["topk_method"] = "greedy";
  config["n_group"] = 1;
  config["topk_group"] = 1;
  config["n_shared_experts"] = 2;
  config["norm_topk_prob"] = false;
  config["routed_scaling_factor"] = 1.0;
  return config;
}

ModelConfig ReadJson(const json& config) { return ConfigFromHub(config.dump(), "config.json"); }

TEST(LatentConfig, ReadsDeepSeek) {
  const ModelConfig config = ReadJson(DeepSeek());
  EXPECT_TRUE(config.IsLatent());
  EXPECT_EQ(config.head_dim, 192);
  EXPECT_EQ(config.RotaryDim(), 64);
  EXPECT_EQ(config.QueryDim(), 128 * 192);
  EXPECT_EQ(config.AttendedDim(), 128 * 128);
  EXPECT_EQ(config.q_lora_rank, 1536);
  EXPECT_TRUE(config.rope_interleaved);
  EXPECT_EQ(config.routing, RoutingKind::kSigmoid);
  EXPECT_EQ(config.expert_groups, 8);
  EXPECT_EQ(config.expert_groups_used, 4);
  EXPECT_EQ(config.shared_ffn_dim, 2048);
  EXPECT_FLOAT_EQ(config.expert_weight_scale, 2.5f);
  EXPECT_EQ(config.dense_layers, (std::vector<int>{0, 1, 2}));
  // 0.1 ln 40 + 1, squared, on the scores and nothing on what is rotated.
  EXPECT_FLOAT_EQ(config.attention_scale, 1.3688879f * 1.3688879f);
  EXPECT_FLOAT_EQ(config.rope_scaling.magnitude, 1);
  ASSERT_EQ(config.rope_scaling.factors.size(), 32u);
  EXPECT_FLOAT_EQ(config.rope_scaling.factors.front(), 1);
  EXPECT_FLOAT_EQ(config.rope_scaling.factors.back(), 40);
}

TEST(LatentConfig, ReadsModelsWithoutAQueryRankOrSigmoid) {
  const ModelConfig config = ReadJson(DeepSeekLite());
  EXPECT_EQ(config.q_lora_rank, 0);
  EXPECT_EQ(config.routing, RoutingKind::kSoftmax);
  EXPECT_EQ(config.shared_ffn_dim, 2 * 2048);
  EXPECT_FALSE(config.normalize_expert_weights);
  bool has_queries = false;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    if (spec.name == "layers.0.self_attn.q_proj.weight") has_queries = true;
    EXPECT_THAT(spec.name, Not(HasSubstr("e_score_correction_bias")));
    EXPECT_THAT(spec.name, Not(HasSubstr("q_a_proj")));
  }
  EXPECT_TRUE(has_queries);
}

TEST(LatentConfig, ComesBackFromAManifest) {
  for (const json& source : {DeepSeek(), DeepSeekLite()}) {
    for (const bool split : {false, true}) {
      ModelConfig config = ReadJson(source);
      config.split_kv_b = split;
      const std::string text = ConfigToJson(config);
      EXPECT_EQ(ConfigToJson(ConfigFromJson(text, "manifest.json")), text);
    }
  }
}

TEST(LatentConfig, NamesWhatIsWrong) {
  const auto with = [](const char* key, const json& value) {
    json config = DeepSeek();
    config[key] = value;
    return MessageOf([&] { ReadJson(config); });
  };
  EXPECT_THAT(with("kv_lora_rank", nullptr), HasSubstr("kv_lora_rank"));
  EXPECT_THAT(with("kv_lora_rank", 1 << 30), HasSubstr("rank of keys and values"));
  EXPECT_THAT(with("qk_rope_head_dim", 63), HasSubstr("odd"));
  EXPECT_THAT(with("qk_nope_head_dim", 5000), HasSubstr("out of range"));
  EXPECT_THAT(with("qk_nope_head_dim", 0), HasSubstr("rotated part"));
  EXPECT_THAT(with("v_head_dim", 0), HasSubstr("dimension of a value"));
  EXPECT_THAT(with("n_group", 7), HasSubstr("7 equal groups"));
  EXPECT_THAT(with("topk_group", 9), HasSubstr("groups per token"));
  EXPECT_THAT(with("num_experts_per_tok", 129), HasSubstr("129 experts per token"));
  EXPECT_THAT(with("n_shared_experts", 2000000000), HasSubstr("shared experts"));
  EXPECT_THAT(with("routed_scaling_factor", 0), HasSubstr("scale 0"));
  EXPECT_THAT(with("scoring_func", "softmax"), HasSubstr("'softmax'"));
  EXPECT_THAT(with("topk_method", "group_limited_greedy"), HasSubstr("'group_limited_greedy'"));
  json groups = DeepSeekLite();
  groups["n_group"] = 8;
  EXPECT_THAT(MessageOf([&] { ReadJson(groups); }), HasSubstr("sigmoid routing only"));
}

struct Published {
  const char* name;
  double total;  // billions of parameters, as published
  double tolerance;
};

class PublishedConfigTest : public testing::TestWithParam<Published> {};

TEST_P(PublishedConfigTest, HasThePublishedNumberOfParameters) {
  const std::filesystem::path path = std::filesystem::path(DOPPLER_SOURCE_DIR) / "tests" / "data" /
                                     "configs" / GetParam().name / "config.json";
  const ModelConfig config = ConfigFromHub(ReadTextFile(path), path.string());
  double total = 0;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    double elements = 1;
    for (const std::int64_t extent : spec.shape) elements *= static_cast<double>(extent);
    total += elements;
  }
  EXPECT_NEAR(total / 1e9, GetParam().total, GetParam().tolerance);
}

INSTANTIATE_TEST_SUITE_P(
    Models, PublishedConfigTest,
    testing::Values(Published{"llama-3.1-8b", 8.03, 0.005}, Published{"llama-3.1-70b", 70.6, 0.05},
                    Published{"phi-mini-moe", 7.6, 0.06}, Published{"mixtral-8x7b", 46.7, 0.05},
                    Published{"gpt-oss-20b", 20.9, 0.05}, Published{"gpt-oss-120b", 116.8, 0.05},
                    Published{"qwen3-30b-a3b", 30.5, 0.05}, Published{"qwen3-235b-a22b", 235, 0.5},
                    Published{"kimi-k2", 1026, 1}),
    [](const auto& tested) {
      std::string name = tested.param.name;
      for (char& c : name) {
        if (c == '-' || c == '.') c = '_';
      }
      return name;
    });

}  // namespace
}  // namespace doppler
