#include "model/config.h"

#include <algorithm>
#include <cmath>
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

}  // namespace

bool ModelConfig::HasExperts(LayerId layer) const {
  return num_experts > 0 &&
         !std::binary_search(dense_layers.begin(), dense_layers.end(), layer.value);
}

int ModelConfig::NumMoeLayers() const {
  return num_experts > 0 ? num_layers - static_cast<int>(dense_layers.size()) : 0;
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
  if (!(config.rms_norm_epsilon > 0 && config.rms_norm_epsilon < 1)) {
    Throw("{}: the RMS norm's epsilon {} is not between 0 and 1", where, config.rms_norm_epsilon);
  }
  if (!(config.rope_theta >= 1 && std::isfinite(config.rope_theta))) {
    Throw("{}: the rotary base {} is not a number of at least 1", where, config.rope_theta);
  }
  const bool factors_fit =
      config.rope_factors.empty() ||
      config.rope_factors.size() == static_cast<std::size_t>(config.head_dim / 2);
  const bool factors_positive =
      std::all_of(config.rope_factors.begin(), config.rope_factors.end(),
                  [](float factor) { return factor > 0 && std::isfinite(factor); });
  if (!factors_fit || !factors_positive) {
    Throw("{}: the rotary factors must be {} positive numbers", where, config.head_dim / 2);
  }
}

std::vector<float> Llama3RopeFactors(const Llama3Scaling& scaling, double theta, int head_dim) {
  std::vector<float> factors(static_cast<std::size_t>(head_dim / 2));
  const double longest_kept = scaling.original_context / scaling.high_freq_factor;
  const double shortest_stretched = scaling.original_context / scaling.low_freq_factor;
  for (std::size_t i = 0; i < factors.size(); ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / head_dim);
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

std::string ConfigToJson(const ModelConfig& config) {
  nlohmann::ordered_json json = {
      {"family", config.family},
      {"numLayers", config.num_layers},
      {"numExperts", config.num_experts},
      {"expertsPerToken", config.experts_per_token},
      {"modelDim", config.model_dim},
      {"numHeads", config.num_heads},
      {"numKvHeads", config.num_kv_heads},
      {"headDim", config.head_dim},
      {"ffnDim", config.ffn_dim},
      {"expertFfnDim", config.expert_ffn_dim},
      {"denseLayers", config.dense_layers},
      {"normalizeExpertWeights", config.normalize_expert_weights},
      {"vocabSize", config.vocab_size},
      {"contextLength", config.context_length},
      {"rmsNormEpsilon", config.rms_norm_epsilon},
      {"ropeTheta", config.rope_theta},
      {"ropeFactors", config.rope_factors},
      {"queryKeyNorm", config.query_key_norm},
      {"tiedEmbeddings", config.tied_embeddings},
  };
  return json.dump();
}

ModelConfig ConfigFromJson(std::string_view architecture_json, const std::string& where) {
  ModelConfig config;
  try {
    const Json json = Json::parse(architecture_json);
    JsonReader(json, where)
        .RequireOnly({"family", "numLayers", "numExperts", "expertsPerToken", "modelDim",
                      "numHeads", "numKvHeads", "headDim", "ffnDim", "expertFfnDim", "denseLayers",
                      "normalizeExpertWeights", "vocabSize", "contextLength", "rmsNormEpsilon",
                      "ropeTheta", "ropeFactors", "queryKeyNorm", "tiedEmbeddings"});
    const auto read = [&json](const char* key, auto& value) { json.at(key).get_to(value); };
    read("family", config.family);
    FamilyByName(config.family, where);
    read("numLayers", config.num_layers);
    read("numExperts", config.num_experts);
    read("expertsPerToken", config.experts_per_token);
    read("modelDim", config.model_dim);
    read("numHeads", config.num_heads);
    read("numKvHeads", config.num_kv_heads);
    read("headDim", config.head_dim);
    read("ffnDim", config.ffn_dim);
    read("expertFfnDim", config.expert_ffn_dim);
    read("denseLayers", config.dense_layers);
    read("normalizeExpertWeights", config.normalize_expert_weights);
    read("vocabSize", config.vocab_size);
    read("contextLength", config.context_length);
    read("rmsNormEpsilon", config.rms_norm_epsilon);
    read("ropeTheta", config.rope_theta);
    read("ropeFactors", config.rope_factors);
    read("queryKeyNorm", config.query_key_norm);
    read("tiedEmbeddings", config.tied_embeddings);
  } catch (const Json::exception& error) {
    Throw("{}: the `architecture` object is not valid: {}", where, error.what());
  }
  ValidateConfig(config, where);
  return config;
}

}  // namespace doppler
