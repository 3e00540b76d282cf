#include "synth/gguf_metadata.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/families.h"

namespace doppler {
namespace {

using Json = nlohmann::json;

class Keys {
 public:
  Keys(std::string_view architecture, GgufBuilder& builder)
      : prefix_(std::string(architecture) + "."), builder_(builder) {}

  void Int(const char* key, int value) {
    builder_.AddUint32(prefix_ + key, static_cast<std::uint32_t>(value));
  }
  void Number(const char* key, double value) {
    builder_.AddFloat(prefix_ + key, static_cast<float>(value));
  }
  void Bool(const char* key, bool value) { builder_.AddBool(prefix_ + key, value); }
  void Bools(const char* key, const std::vector<bool>& value) {
    builder_.AddBools(prefix_ + key, value);
  }
  void String(const char* key, std::string_view value) { builder_.AddString(prefix_ + key, value); }

 private:
  std::string prefix_;
  GgufBuilder& builder_;
};

void AddSizes(const ModelConfig& config, Keys& keys) {
  keys.Int("vocab_size", config.vocab_size);
  keys.Int("block_count", config.num_layers);
  keys.Int("context_length", config.context_length);
  keys.Int("embedding_length", config.model_dim);
  keys.Int("feed_forward_length", config.ffn_dim > 0 ? config.ffn_dim : config.expert_ffn_dim);
  keys.Int("attention.head_count", config.num_heads);
  keys.Int("attention.head_count_kv", config.num_kv_heads);
  keys.Int("attention.key_length", config.head_dim);
  keys.Int("attention.value_length", config.IsLatent() ? config.value_head_dim : config.head_dim);
  keys.Number("attention.layer_norm_rms_epsilon", double{config.norm_epsilon});
  keys.Int("rope.dimension_count", config.RotaryDim());
  keys.Number("rope.freq_base", config.rope_theta);
}

void AddExperts(const ModelConfig& config, Keys& keys) {
  keys.Int("expert_count", config.num_experts);
  keys.Int("expert_used_count", config.experts_per_token);
  keys.Int("expert_feed_forward_length", config.expert_ffn_dim);
  keys.Bool("expert_weights_norm", config.normalize_expert_weights);
}

// The layers without experts, which GGUF only counts, must be the first.
void AddDenseLayers(const ModelConfig& config, Keys& keys) {
  for (std::size_t i = 0; i < config.dense_layers.size(); ++i) {
    if (config.dense_layers[i] == static_cast<int>(i)) continue;
    Throw("layer {} has no experts but an earlier layer has; GGUF cannot say that",
          config.dense_layers[i]);
  }
  if (config.IsLatent() || !config.dense_layers.empty()) {
    keys.Int("leading_dense_block_count", static_cast<int>(config.dense_layers.size()));
  }
}

void AddLatent(const ModelConfig& config, Keys& keys) {
  constexpr int kSoftmax = 1;
  constexpr int kSigmoid = 2;
  if (config.q_lora_rank > 0) keys.Int("attention.q_lora_rank", config.q_lora_rank);
  keys.Int("attention.kv_lora_rank", config.kv_lora_rank);
  keys.Int("expert_gating_func", config.routing == RoutingKind::kSigmoid ? kSigmoid : kSoftmax);
  keys.Number("expert_weights_scale", double{config.expert_weight_scale});
  keys.Int("expert_group_count", config.expert_groups);
  keys.Int("expert_group_used_count", config.expert_groups_used);
  keys.Int("expert_shared_count", config.shared_ffn_dim / config.expert_ffn_dim);
}

void AddWindows(const ModelConfig& config, const Family& family, Keys& keys) {
  if (config.layer_windows.empty()) return;
  std::vector<bool> windowed;
  bool as_implied = true;
  for (const int window : config.layer_windows) {
    const auto layer = static_cast<int>(windowed.size());
    windowed.push_back(window > 0);
    as_implied = as_implied && windowed.back() == (layer % family.traits.window_every == 0);
  }
  keys.Int("attention.sliding_window",
           *std::max_element(config.layer_windows.begin(), config.layer_windows.end()));
  if (!as_implied) keys.Bools("attention.sliding_window_pattern", windowed);
}

void AddYarn(const ModelConfig& config, const Json& scaling, Keys& keys) {
  const double factor = scaling.at("factor").get<double>();
  keys.String("rope.scaling.type", "yarn");
  keys.Number("rope.scaling.factor", factor);
  keys.Int("rope.scaling.original_context_length",
           scaling.at("original_max_position_embeddings").get<int>());
  for (const auto& [key, from] : {std::pair{"rope.scaling.yarn_beta_fast", "beta_fast"},
                                  {"rope.scaling.yarn_beta_slow", "beta_slow"}}) {
    if (scaling.contains(from)) keys.Number(key, scaling.at(from).get<double>());
  }
  if (config.IsLatent()) {
    keys.Number("rope.scaling.yarn_log_multiplier", 0.1 * scaling.value("mscale_all_dim", 0.0));
    return;
  }
  const double magnitude = double{config.rope_scaling.magnitude} / YarnMagnitude(factor);
  if (static_cast<float>(magnitude) != 1) keys.Number("rope.scaling.attn_factor", magnitude);
}

void AddRope(const ModelConfig& config, const HubScaling& scaling, Keys& keys) {
  const auto& [type, parameters] = scaling;
  if (type == "yarn") {
    AddYarn(config, parameters, keys);
  } else if (type == "linear") {
    keys.String("rope.scaling.type", "linear");
    keys.Number("rope.scaling.factor", parameters.at("factor").get<double>());
  } else if (type == "longrope") {
    if (config.rope_scaling.magnitude != config.long_rope_scaling.magnitude) {
      Throw("the magnitudes of short and long texts differ; GGUF has one for both");
    }
    keys.Int("rope.scaling.original_context_length", config.long_rope_from);
    keys.Number("rope.scaling.attn_factor", double{config.rope_scaling.magnitude});
  } else {
    // Llama 3's factors are a tensor.
    DOPPLER_CHECK(type == "default" || type == "llama3");
  }
}

}  // namespace

HubScaling ScalingOf(const std::string& hub_config) {
  const Json hub = Json::parse(hub_config);
  const char* const where = hub.contains("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const bool scaled = hub.contains(where) && hub.at(where).is_object();
  const Json parameters = scaled ? hub.at(where) : Json::object();
  return {.type = parameters.value("rope_type", parameters.value("type", "default")),
          .parameters = parameters};
}

void AddGgufMetadata(const ModelConfig& config, const HubScaling& scaling, const std::string& name,
                     GgufBuilder& builder) {
  const Family& family = FamilyByName(config.family);
  builder.AddString("general.architecture", family.gguf_architecture);
  builder.AddString("general.name", name);
  Keys keys(family.gguf_architecture, builder);
  AddSizes(config, keys);
  if (config.num_experts > 0) AddExperts(config, keys);
  if (config.num_experts > 0) AddDenseLayers(config, keys);
  if (config.IsLatent()) AddLatent(config, keys);
  AddWindows(config, family, keys);
  AddRope(config, scaling, keys);
}

}  // namespace doppler
