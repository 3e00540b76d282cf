#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace doppler {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// Llama 3.1 8B, as on the hub.
json Llama() {
  return {{"model_type", "llama"},
          {"hidden_size", 4096},
          {"num_hidden_layers", 32},
          {"num_attention_heads", 32},
          {"num_key_value_heads", 8},
          {"intermediate_size", 14336},
          {"vocab_size", 128256},
          {"max_position_embeddings", 131072},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 500000.0},
          {"rope_scaling",
           {{"rope_type", "llama3"},
            {"factor", 8.0},
            {"low_freq_factor", 1.0},
            {"high_freq_factor", 4.0},
            {"original_max_position_embeddings", 8192}}},
          {"hidden_act", "silu"},
          {"tie_word_embeddings", false}};
}

json Qwen3Moe() {
  json config = Llama();
  config["model_type"] = "qwen3_moe";
  config["rope_scaling"] = nullptr;
  config["head_dim"] = 128;
  config["num_experts"] = 128;
  config["num_experts_per_tok"] = 8;
  config["moe_intermediate_size"] = 768;
  config["norm_topk_prob"] = false;
  config["mlp_only_layers"] = {3};
  config["decoder_sparse_step"] = 1;
  config["sliding_window"] = nullptr;
  return config;
}

std::string MessageOf(const json& config) {
  try {
    ConfigFromHub(config.dump(), "config.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ConfigFromHub, ReadsLlama) {
  const ModelConfig config = ConfigFromHub(Llama().dump(), "config.json");
  EXPECT_EQ(config.family, "llama");
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.num_kv_heads, 8);
  EXPECT_EQ(config.ffn_dim, 14336);
  EXPECT_EQ(config.NumMoeLayers(), 0);
  ASSERT_EQ(config.rope_scaling.factors.size(), 64u);
  EXPECT_EQ(config.rope_scaling.factors.front(), 1.0f);
  EXPECT_EQ(config.rope_scaling.factors.back(), 8.0f);
}

TEST(ConfigFromHub, ReadsExpertsAndDenseLayers) {
  const ModelConfig config = ConfigFromHub(Qwen3Moe().dump(), "config.json");
  EXPECT_EQ(config.num_experts, 128);
  EXPECT_EQ(config.expert_ffn_dim, 768);
  EXPECT_FALSE(config.normalize_expert_weights);
  EXPECT_TRUE(config.query_key_norm);
  EXPECT_FALSE(config.HasExperts(LayerId(3)));
  EXPECT_TRUE(config.HasExperts(LayerId(4)));
  EXPECT_EQ(config.NumMoeLayers(), 31);
  json sparse = Qwen3Moe();
  sparse["decoder_sparse_step"] = 2;
  EXPECT_EQ(ConfigFromHub(sparse.dump(), "config.json").NumMoeLayers(), 15);
}

TEST(ConfigFromHub, BothRopeStylesAgree) {
  json newer = Llama();
  newer["rope_parameters"] = newer["rope_scaling"];
  newer["rope_parameters"]["rope_theta"] = newer["rope_theta"];
  newer.erase("rope_scaling");
  newer.erase("rope_theta");
  const ModelConfig a = ConfigFromHub(Llama().dump(), "config.json");
  const ModelConfig b = ConfigFromHub(newer.dump(), "config.json");
  EXPECT_EQ(a.rope_theta, b.rope_theta);
  EXPECT_EQ(a.rope_scaling.factors, b.rope_scaling.factors);
}

TEST(ConfigFromHub, ReadsWindows) {
  const auto windows = [](json config) {
    config["sliding_window"] = 4096;
    return ConfigFromHub(config.dump(), "config.json").layer_windows;
  };
  json mistral = Llama();
  mistral["model_type"] = "mistral";
  EXPECT_EQ(windows(mistral), std::vector<int>(32, 4096));
  json qwen = Qwen3Moe();
  qwen["use_sliding_window"] = false;
  EXPECT_TRUE(windows(qwen).empty());
  qwen["use_sliding_window"] = true;
  qwen["max_window_layers"] = 31;
  std::vector<int> last(32);
  last.back() = 4096;
  EXPECT_EQ(windows(qwen), last);
  json listed = mistral;
  listed["layer_types"] = std::vector<std::string>(32, "full_attention");
  listed["layer_types"][0] = "sliding_attention";
  std::vector<int> first(32);
  first.front() = 4096;
  EXPECT_EQ(windows(listed), first);
  listed["layer_types"].erase(0);
  EXPECT_THAT(MessageOf([&] {
                json wrong = listed;
                wrong["sliding_window"] = 4096;
                return wrong;
              }()),
              HasSubstr("31 entries"));
}

TEST(ConfigFromHub, ReadsLongRope) {
  json phi = Llama();
  phi["model_type"] = "phimoe";
  phi["num_local_experts"] = 16;
  phi["num_experts_per_tok"] = 2;
  phi["original_max_position_embeddings"] = 4096;
  phi["rope_scaling"] = {{"type", "longrope"},
                         {"short_factor", std::vector<double>(64, 1)},
                         {"long_factor", std::vector<double>(64, 8)}};
  const auto read = [&phi] { return ConfigFromHub(phi.dump(), "config.json"); };
  EXPECT_EQ(read().long_rope_from, 4096);
  EXPECT_TRUE(read().IsLongText(4097));
  EXPECT_FALSE(read().IsLongText(4096));
  EXPECT_EQ(read().long_rope_scaling.factors, std::vector<float>(64, 8));
  // sqrt(1 + ln(131072 / 4096) / ln(4096))
  EXPECT_NEAR(read().rope_scaling.magnitude, 1.19024F, 1e-5F);
  phi["rope_scaling"]["short_mscale"] = 1.25;
  EXPECT_EQ(read().rope_scaling.magnitude, 1.25F);
  EXPECT_NEAR(read().long_rope_scaling.magnitude, 1.19024F, 1e-5F);
  phi["rope_scaling"]["long_factor"].erase(0);
  EXPECT_THAT(MessageOf(phi), HasSubstr("64 positive numbers"));
}

// beta_fast and beta_slow of 32 and 1 turns within 4096 positions: of 64 pairs with a base of
// 150000 the ends of the blend are the pairs 8.09 and 17.40.
TEST(YarnRopeFactors, RoundsTheRangeOnlyIfAsked) {
  YarnScaling yarn = {.factor = 32, .original_context = 4096, .truncate = false};
  const std::vector<float> exact = YarnRopeFactors(yarn, 150000, 64);
  EXPECT_EQ(exact[8], 1);
  EXPECT_GT(exact[9], 1);
  EXPECT_EQ(exact[18], 32);
  const double stretched = (9 - 8.0928) / (17.3980 - 8.0928);
  EXPECT_NEAR(exact[9], 1 / (stretched / 32 + 1 - stretched), 1e-3);
  yarn.truncate = true;
  const double rounded = (9 - 8.0) / (18.0 - 8.0);
  EXPECT_NEAR(YarnRopeFactors(yarn, 150000, 64)[9], 1 / (rounded / 32 + 1 - rounded), 1e-5);
  EXPECT_NEAR(YarnMagnitude(32), 1.34657, 1e-5);
}

TEST(ConfigFromHub, NamesWhatIsWrong) {
  const auto with = [](const char* key, const json& value) {
    json config = Qwen3Moe();
    config[key] = value;
    return MessageOf(config);
  };
  EXPECT_THAT(with("model_type", "bert"), HasSubstr("'bert' is not supported"));
  EXPECT_THAT(with("hidden_size", -1), HasSubstr("hidden_size"));
  EXPECT_THAT(with("hidden_size", "big"), HasSubstr("hidden_size"));
  EXPECT_THAT(with("num_hidden_layers", 1e9), HasSubstr("num_hidden_layers"));
  EXPECT_THAT(with("num_hidden_layers", 1000000), HasSubstr("number of layers"));
  EXPECT_THAT(with("num_attention_heads", 0), HasSubstr("number of heads"));
  EXPECT_THAT(with("num_key_value_heads", 7), HasSubstr("evenly"));
  EXPECT_THAT(with("head_dim", 127), HasSubstr("odd"));
  EXPECT_THAT(with("num_experts_per_tok", 129), HasSubstr("experts per token"));
  EXPECT_THAT(with("mlp_only_layers", {-1}), HasSubstr("mlp_only_layers"));
  EXPECT_THAT(with("decoder_sparse_step", 0), HasSubstr("decoder_sparse_step"));
  EXPECT_THAT(with("rms_norm_eps", 0), HasSubstr("epsilon"));
  EXPECT_THAT(with("rope_scaling", {{"rope_type", "yarn"}}), HasSubstr("'factor'"));
  EXPECT_THAT(with("rope_scaling", {{"rope_type", "dynamic"}}), HasSubstr("'dynamic'"));
  EXPECT_THAT(with("hidden_act", "gelu"), HasSubstr("'gelu'"));
  EXPECT_THAT(with("mlp_bias", true), HasSubstr("mlp_bias"));
  EXPECT_THAT(with("sliding_window", "wide"), HasSubstr("sliding_window"));
  EXPECT_THAT(MessageOf(json::array()), HasSubstr("must be an object"));
}

TEST(ConfigFromJson, ReadsBackWhatConvertWrites) {
  const ModelConfig config = ConfigFromHub(Qwen3Moe().dump(), "config.json");
  const std::string text = ConfigToJson(config);
  EXPECT_EQ(ConfigToJson(ConfigFromJson(text, "manifest.json")), text);
  const ModelConfig llama = ConfigFromHub(Llama().dump(), "config.json");
  EXPECT_EQ(ConfigFromJson(ConfigToJson(llama), "manifest.json").rope_scaling.factors,
            llama.rope_scaling.factors);
}

TEST(ConfigFromJson, RefusesMissingAndForeignEntries) {
  json architecture = json::parse(ConfigToJson(ConfigFromHub(Llama().dump(), "config.json")));
  const auto parse = [](const json& value) { ConfigFromJson(value.dump(), "manifest.json"); };
  EXPECT_NO_THROW(parse(architecture));
  json missing = architecture;
  missing.erase("headDim");
  EXPECT_THROW(parse(missing), Error);
  json foreign = architecture;
  foreign["family"] = "bert";
  EXPECT_THROW(parse(foreign), Error);
  json unknown = architecture;
  unknown["slidingWindow"] = 4096;
  EXPECT_THROW(parse(unknown), Error);
  json wrong = architecture;
  wrong["numLayers"] = "32";
  EXPECT_THROW(parse(wrong), Error);
}

}  // namespace
}  // namespace doppler
