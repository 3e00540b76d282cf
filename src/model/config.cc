#include "model/config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "format/json.h"
#include "model/families.h"

namespace doppler {
namespace {

using Json = nlohmann::json;

// Larger than any model known; small enough that products of two fit in 64 bits with room.
constexpr int kMaxDimension = 1 << 24;

void RequireRange(int value, int low, int high, const char* name, const std::string& where) {
  if (value < low || value > high) {
    Throw("{}: {} is {}, outside {} to {}; the configuration is damaged", where, name, value, low,
          high);
  }
}

void ValidateLatent(const ModelConfig& config, const std::string& where) {
  if (!config.IsLatent()) return;
  RequireRange(config.kv_lora_rank, 1, kMaxDimension, "the rank of keys and values", where);
  RequireRange(config.q_lora_rank, 0, kMaxDimension, "the rank of queries", where);
  RequireRange(config.rope_head_dim, 2, config.head_dim - 1, "the rotated part of a head", where);
  RequireRange(config.value_head_dim, 1, 4096, "the dimension of a value", where);
  if (config.rope_head_dim % 2 != 0) {
    Throw("{}: the rotated part of a head, {}, is odd", where, config.rope_head_dim);
  }
}

void ValidateRouting(const ModelConfig& config, const std::string& where) {
  RequireRange(config.shared_ffn_dim, 0, kMaxDimension, "the shared experts' dimension", where);
  RequireRange(config.expert_groups, 1, 65536, "the number of expert groups", where);
  RequireRange(config.expert_groups_used, 1, config.expert_groups,
               "the number of expert groups per token", where);
  if (config.num_experts % config.expert_groups != 0) {
    Throw("{}: {} experts do not make {} equal groups", where, config.num_experts,
          config.expert_groups);
  }
  if (config.expert_groups > 1 && config.routing != RoutingKind::kSigmoid) {
    Throw("{}: {} expert groups are supported with sigmoid routing only", where,
          config.expert_groups);
  }
  const int reachable = config.num_experts / config.expert_groups * config.expert_groups_used;
  if (config.experts_per_token > reachable) {
    Throw("{}: {} experts per token cannot come from {} groups of {}", where,
          config.experts_per_token, config.expert_groups_used,
          config.num_experts / config.expert_groups);
  }
  const bool positive = config.expert_weight_scale > 0 && config.router_jitter >= 0;
  if (!positive || !std::isfinite(config.expert_weight_scale + config.router_jitter)) {
    Throw("{}: the scale {} of expert weights or the router's jitter {} is not a positive number",
          where, config.expert_weight_scale, config.router_jitter);
  }
}

void ValidateScaling(const RopeScaling& scaling, int rotary_dim, const std::string& where) {
  const auto pairs = static_cast<std::size_t>(rotary_dim / 2);
  const auto is_positive = [](float value) { return value > 0 && std::isfinite(value); };
  const bool fits = scaling.factors.empty() || scaling.factors.size() == pairs;
  if (!fits || !std::all_of(scaling.factors.begin(), scaling.factors.end(), is_positive)) {
    Throw("{}: the rotary factors must be {} positive numbers", where, pairs);
  }
  if (!is_positive(scaling.magnitude)) {
    Throw("{}: the rotary magnitude {} is not a positive number", where, scaling.magnitude);
  }
}

void ValidateAttention(const ModelConfig& config, const std::string& where) {
  if (!(config.attention_scale > 0 && std::isfinite(config.attention_scale))) {
    Throw("{}: the scale of attention {} is not a positive number", where, config.attention_scale);
  }
  if (!(config.swiglu_limit >= 0 && std::isfinite(config.swiglu_limit))) {
    Throw("{}: the limit {} of the gated unit is not a number from 0", where, config.swiglu_limit);
  }
  const std::size_t windows = config.layer_windows.size();
  if (windows != 0 && windows != static_cast<std::size_t>(config.num_layers)) {
    Throw("{}: {} layers have {} windows", where, config.num_layers, windows);
  }
  for (const int window : config.layer_windows) {
    RequireRange(window, 0, 1 << 28, "a sliding window", where);
  }
}

}  // namespace

bool ModelConfig::HasExperts(LayerId layer) const {
  return num_experts > 0 &&
         !std::binary_search(dense_layers.begin(), dense_layers.end(), layer.value);
}

int ModelConfig::NumMoeLayers() const {
  return num_experts > 0 ? num_layers - static_cast<int>(dense_layers.size()) : 0;
}

int SharedFfnDim(int experts, int expert_ffn_dim) {
  const std::int64_t width = std::int64_t{experts} * expert_ffn_dim;
  return static_cast<int>(std::min<std::int64_t>(width, std::numeric_limits<int>::max()));
}

void ValidateConfig(const ModelConfig& config, const std::string& where) {
  const Family& family = FamilyByName(config.family, where);
  RequireRange(config.num_layers, 1, 4096, "the number of layers", where);
  RequireRange(config.model_dim, 1, kMaxDimension, "the model dimension", where);
  RequireRange(config.num_heads, 1, 4096, "the number of heads", where);
  RequireRange(config.num_kv_heads, 1, config.num_heads, "the number of KV heads", where);
  RequireRange(config.head_dim, 2, 4096, "the head dimension", where);
  RequireRange(config.vocab_size, 1, kMaxDimension, "the vocabulary size", where);
  RequireRange(config.context_length, 1, 1 << 28, "the context length", where);
  if (config.num_heads % config.num_kv_heads != 0) {
    Throw("{}: {} heads cannot share {} KV heads evenly", where, config.num_heads,
          config.num_kv_heads);
  }
  if (config.head_dim % 2 != 0) Throw("{}: the head dimension {} is odd", where, config.head_dim);
  if (family.experts != (config.num_experts > 0)) {
    Throw("{}: a '{}' model cannot have {} experts", where, config.family, config.num_experts);
  }
  if (config.num_experts > 0) {
    RequireRange(config.num_experts, 1, 65536, "the number of experts", where);
    RequireRange(config.experts_per_token, 1, std::min(config.num_experts, 256),
                 "the number of experts per token", where);
    RequireRange(config.expert_ffn_dim, 1, kMaxDimension, "the experts' ffn dimension", where);
  }
  const bool sorted = std::is_sorted(config.dense_layers.begin(), config.dense_layers.end()) &&
                      std::adjacent_find(config.dense_layers.begin(), config.dense_layers.end()) ==
                          config.dense_layers.end();
  if (!sorted) Throw("{}: the dense layers are not in ascending order", where);
  for (const int layer : config.dense_layers) {
    RequireRange(layer, 0, config.num_layers - 1, "a dense layer", where);
  }
  if (config.NumMoeLayers() < config.num_layers) {
    RequireRange(config.ffn_dim, 1, kMaxDimension, "the ffn dimension", where);
  }
  if (!(config.norm_epsilon > 0 && config.norm_epsilon < 1)) {
    Throw("{}: the norm's epsilon {} is not between 0 and 1", where, config.norm_epsilon);
  }
  if (!(config.rope_theta >= 1 && std::isfinite(config.rope_theta))) {
    Throw("{}: the rotary base {} is not a number of at least 1", where, config.rope_theta);
  }
  ValidateLatent(config, where);
  ValidateRouting(config, where);
  ValidateScaling(config.rope_scaling, config.RotaryDim(), where);
  ValidateScaling(config.long_rope_scaling, config.RotaryDim(), where);
  RequireRange(config.long_rope_from, 0, 1 << 28, "the context of the long rotary factors", where);
  ValidateAttention(config, where);
}

std::vector<float> Llama3RopeFactors(const Llama3Scaling& scaling, double theta, int rotary_dim) {
  std::vector<float> factors(static_cast<std::size_t>(rotary_dim / 2));
  const double longest_kept = scaling.original_context / scaling.high_freq_factor;
  const double shortest_stretched = scaling.original_context / scaling.low_freq_factor;
  for (std::size_t i = 0; i < factors.size(); ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / rotary_dim);
    const double wavelength = 2 * std::numbers::pi / frequency;
    double divisor = 1;
    if (wavelength > shortest_stretched) {
      divisor = scaling.factor;
    } else if (wavelength > longest_kept) {
      const double kept = (scaling.original_context / wavelength - scaling.low_freq_factor) /
                          (scaling.high_freq_factor - scaling.low_freq_factor);
      divisor = 1 / ((1 - kept) / scaling.factor + kept);
    }
    factors[i] = static_cast<float>(divisor);
  }
  return factors;
}

std::vector<float> YarnRopeFactors(const YarnScaling& scaling, double theta, int rotary_dim) {
  // The pair whose frequency turns that often within the original context.
  const auto pair_of = [&](double turns) {
    return rotary_dim * std::log(scaling.original_context / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(theta));
  };
  double low = pair_of(scaling.beta_fast);
  double high = pair_of(scaling.beta_slow);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, rotary_dim - 1.0);
  if (low == high) high += 0.001;
  std::vector<float> factors(static_cast<std::size_t>(rotary_dim / 2));
  for (std::size_t i = 0; i < factors.size(); ++i) {
    const double stretched = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    factors[i] = static_cast<float>(1 / (stretched / scaling.factor + (1 - stretched)));
  }
  return factors;
}

double YarnMagnitude(double factor, double weight) {
  return factor <= 1 ? 1 : 0.1 * weight * std::log(factor) + 1;
}

double LongRopeMagnitude(int context, int original) {
  const double stretch = static_cast<double>(context) / original;
  return stretch <= 1 ? 1 : std::sqrt(1 + std::log(stretch) / std::log(original));
}

namespace {

constexpr std::array<const char*, 2> kNorms = {"rms", "layer"};
constexpr std::array<const char*, 3> kRoutings = {"softmax", "sparse_mixer", "sigmoid"};

template <typename Enum, std::size_t N>
Enum FromName(const std::string& name, const std::array<const char*, N>& names, const char* what,
              const std::string& where) {
  for (std::size_t i = 0; i < N; ++i) {
    if (name == names[i]) return static_cast<Enum>(i);
  }
  Throw("{}: there is no {} '{}'", where, what, name);
}

// Calls visit(key, member) for every number, switch and list, so that writing and reading agree.
template <typename Config, typename Visit>
void VisitMembers(Config& config, const Visit& visit) {
  visit("family", config.family);
  visit("numLayers", config.num_layers);
  visit("numExperts", config.num_experts);
  visit("expertsPerToken", config.experts_per_token);
  visit("modelDim", config.model_dim);
  visit("numHeads", config.num_heads);
  visit("numKvHeads", config.num_kv_heads);
  visit("headDim", config.head_dim);
  visit("ffnDim", config.ffn_dim);
  visit("expertFfnDim", config.expert_ffn_dim);
  visit("sharedFfnDim", config.shared_ffn_dim);
  visit("denseLayers", config.dense_layers);
  visit("normalizeExpertWeights", config.normalize_expert_weights);
  visit("expertWeightScale", config.expert_weight_scale);
  visit("routerJitter", config.router_jitter);
  visit("expertGroups", config.expert_groups);
  visit("expertGroupsUsed", config.expert_groups_used);
  visit("vocabSize", config.vocab_size);
  visit("contextLength", config.context_length);
  visit("normEpsilon", config.norm_epsilon);
  visit("ropeTheta", config.rope_theta);
  visit("ropeInterleaved", config.rope_interleaved);
  visit("ropeFactors", config.rope_scaling.factors);
  visit("ropeMagnitude", config.rope_scaling.magnitude);
  visit("longRopeFactors", config.long_rope_scaling.factors);
  visit("longRopeMagnitude", config.long_rope_scaling.magnitude);
  visit("longRopeFrom", config.long_rope_from);
  visit("qLoraRank", config.q_lora_rank);
  visit("kvLoraRank", config.kv_lora_rank);
  visit("ropeHeadDim", config.rope_head_dim);
  visit("valueHeadDim", config.value_head_dim);
  visit("splitKvB", config.split_kv_b);
  visit("attentionScale", config.attention_scale);
  visit("layerWindows", config.layer_windows);
  visit("attentionSinks", config.attention_sinks);
  visit("queryKeyNorm", config.query_key_norm);
  visit("attentionBias", config.attention_bias);
  visit("headBias", config.head_bias);
  visit("routerBias", config.router_bias);
  visit("expertBias", config.expert_bias);
  visit("swigluLimit", config.swiglu_limit);
  visit("tiedEmbeddings", config.tied_embeddings);
}

}  // namespace

std::string ConfigToJson(const ModelConfig& config) {
  nlohmann::ordered_json json;
  VisitMembers(config, [&json](const char* key, const auto& value) { json[key] = value; });
  json["norm"] = kNorms[static_cast<std::size_t>(config.norm)];
  json["routing"] = kRoutings[static_cast<std::size_t>(config.routing)];
  return json.dump();
}

ModelConfig ConfigFromJson(std::string_view architecture_json, const std::string& where) {
  ModelConfig config;
  try {
    Json json = Json::parse(architecture_json);
    if (!json.is_object()) Throw("{}: `architecture` is not an object", where);
    const auto take = [&json](const char* key, auto& value) {
      json.at(key).get_to(value);
      json.erase(key);
    };
    VisitMembers(config, take);
    std::string norm;
    std::string routing;
    take("norm", norm);
    take("routing", routing);
    config.norm = FromName<NormKind>(norm, kNorms, "norm", where);
    config.routing = FromName<RoutingKind>(routing, kRoutings, "routing", where);
    if (!json.empty()) {
      Throw("{}: '{}' of `architecture` is not known to this version", where, json.begin().key());
    }
  } catch (const Json::exception& error) {
    Throw("{}: the `architecture` object is not valid: {}", where, error.what());
  }
  ValidateConfig(config, where);
  return config;
}

}  // namespace doppler
