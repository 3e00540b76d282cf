// What a model is, as numbers and switches.
//
// One plain type for every family. It is read from a checkpoint once, by convert; afterwards it
// travels in the manifest's `architecture` object, which is what ConfigToJson writes. Every
// function that reads checks ranges, so that a ModelConfig can be computed with without overflow.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace doppler {

class GgufMetadata;

struct ModelConfig {
  std::string family;  // a name of the table in model/families.h
  int num_layers = 0;
  int model_dim = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int vocab_size = 0;
  int context_length = 0;  // positions that the model was made for
  int ffn_dim = 0;         // of a dense layer's projections; 0 if no layer is dense

  int num_experts = 0;  // 0: no layer has experts
  int experts_per_token = 0;
  int expert_ffn_dim = 0;
  bool normalize_expert_weights = true;  // the chosen experts' weights add up to 1
  std::vector<int> dense_layers;         // layers without experts in a model that has some, sorted

  float rms_norm_epsilon = 0;
  double rope_theta = 0;
  // Divisors of the rotary frequencies, [head_dim / 2]; empty for none. Llama 3.1's position
  // scaling is one such list.
  std::vector<float> rope_factors;

  bool query_key_norm = false;   // RMSNorm of each query and key head
  bool tied_embeddings = false;  // the output projection is the embedding table

  bool HasExperts(LayerId layer) const;
  int NumMoeLayers() const;
};

// From a hub checkpoint's config.json, in the classic (`rope_theta`, `rope_scaling`) or the newer
// style (`rope_parameters`). Throws Error that names the key, or the family or feature that is not
// supported.
ModelConfig ConfigFromHub(std::string_view config_json, const std::string& where);

// What a GGUF file says outside its metadata.
struct GgufFacts {
  int vocab_size = 0;               // rows of token_embd.weight
  bool tied_embeddings = false;     // there is no output.weight
  std::vector<float> rope_factors;  // rope_freqs.weight, empty if there is none
};
// From the metadata of a GGUF file (keys: github.com/ggml-org/ggml, docs/gguf.md).
ModelConfig ConfigFromGguf(const GgufMetadata& metadata, const GgufFacts& facts);

// From the manifest's `architecture` object, and back.
ModelConfig ConfigFromJson(std::string_view architecture_json, const std::string& where);
std::string ConfigToJson(const ModelConfig& config);

// Throws Error unless the numbers are positive, bounded and fit together.
void ValidateConfig(const ModelConfig& config, const std::string& where);

// The divisors of Llama 3.1's position scaling: wavelengths longer than
// original_context / low_freq_factor are stretched by `factor`, those shorter than
// original_context / high_freq_factor are kept, those between are blended.
struct Llama3Scaling {
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double original_context = 0;
};
std::vector<float> Llama3RopeFactors(const Llama3Scaling& scaling, double theta, int head_dim);

}  // namespace doppler
