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

enum class NormKind : std::uint8_t { kRms, kLayer };

// How a router's scores choose experts and weigh them; model/router.h has the formulas.
enum class RoutingKind : std::uint8_t { kSoftmax, kSparseMixer, kSigmoid };

// Rotary frequencies: those of the base divided by `factors`, and a factor to cosine and sine.
struct RopeScaling {
  std::vector<float> factors;  // [RotaryDim / 2]; empty for all 1
  float magnitude = 1;

  bool operator==(const RopeScaling&) const = default;
};

struct ModelConfig {
  std::string family;  // a name of the table in model/families.h
  int num_layers = 0;
  int model_dim = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;  // of a query or key
  int vocab_size = 0;
  int context_length = 0;  // positions that the model was made for
  int ffn_dim = 0;         // of a dense layer's projections; 0 if no layer is dense

  int num_experts = 0;  // 0: no layer has experts
  int experts_per_token = 0;
  int expert_ffn_dim = 0;
  int shared_ffn_dim = 0;  // of the experts that every token uses; 0 for none
  RoutingKind routing = RoutingKind::kSoftmax;
  bool normalize_expert_weights = true;  // the chosen experts' weights add up to 1
  float expert_weight_scale = 1;         // of a token's expert weights
  float router_jitter = 0;               // of kSparseMixer
  int expert_groups = 1;                 // of kSigmoid: only experts of the best
  int expert_groups_used = 1;            //   `expert_groups_used` groups are chosen
  std::vector<int> dense_layers;         // layers without experts in a model that has some, sorted

  NormKind norm = NormKind::kRms;
  float norm_epsilon = 0;
  double rope_theta = 0;
  bool rope_interleaved = false;  // rotary pairs are neighbours
  RopeScaling rope_scaling;
  // What applies instead to a text of more than `long_rope_from` tokens; 0 for never.
  RopeScaling long_rope_scaling;
  int long_rope_from = 0;

  // Multi-head latent attention, if kv_lora_rank is not 0: keys and values of all heads come from
  // one latent vector per token, beside which one rotated key serves all heads. Arxiv 2405.04434.
  int q_lora_rank = 0;  // 0: queries are projected at once
  int kv_lora_rank = 0;
  int rope_head_dim = 0;   // the rotated part of head_dim, the last
  int value_head_dim = 0;  // of a value
  // Keys' and values' parts of the latent projection are tensors of their own, the keys' transposed
  // head by head: [heads * kv_lora_rank, plain part of head_dim] and [heads * value_head_dim,
  // kv_lora_rank]. Otherwise one tensor holds each head's rows of both, [.., kv_lora_rank].
  bool split_kv_b = false;

  float attention_scale = 1;       // of 1 / sqrt(head_dim)
  std::vector<int> layer_windows;  // [num_layers], positions a token sees, 0 for all; empty: all 0
  bool attention_sinks = false;
  bool query_key_norm = false;  // RMSNorm of each query and key head
  bool attention_bias = false;  // of the query, key, value and output projections
  bool head_bias = false;       // of the output projection
  bool router_bias = false;
  bool expert_bias = false;
  float swiglu_limit = 0;        // not 0: GPT-OSS's clamped gated unit
  bool tied_embeddings = false;  // the output projection is the embedding table

  bool HasExperts(LayerId layer) const;
  int NumMoeLayers() const;
  bool IsLatent() const { return kv_lora_rank > 0; }
  int RotaryDim() const { return IsLatent() ? rope_head_dim : head_dim; }
  // Of all heads together.
  int QueryDim() const { return num_heads * head_dim; }
  int AttendedDim() const { return num_heads * (IsLatent() ? value_head_dim : head_dim); }
  // Whether a text of that many tokens takes long_rope_scaling.
  bool IsLongText(int tokens) const { return long_rope_from > 0 && tokens > long_rope_from; }
  int WindowOf(LayerId layer) const {
    return layer_windows.empty() ? 0 : layer_windows[layer.index()];
  }
};

// From a hub checkpoint's config.json, in the classic (`rope_theta`, `rope_scaling`) or the newer
// style (`rope_parameters`). Throws Error that names the key, or the family or feature that is not
// supported.
ModelConfig ConfigFromHub(std::string_view config_json, const std::string& where);

// From the manifest's `architecture` object, and back.
ModelConfig ConfigFromJson(std::string_view architecture_json, const std::string& where);
std::string ConfigToJson(const ModelConfig& config);

// The width of so many shared experts side by side, at most the largest int: ValidateConfig refuses
// what is too much.
int SharedFfnDim(int experts, int expert_ffn_dim);

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
std::vector<float> Llama3RopeFactors(const Llama3Scaling& scaling, double theta, int rotary_dim);

// YaRN (arxiv 2309.00071): frequencies that turn more than beta_fast times within the original
// context are kept, those that turn less than beta_slow times are divided by `factor`, those
// between are blended. `truncate` rounds the two ends of the blend to whole pairs.
struct YarnScaling {
  double factor = 1;
  double original_context = 0;
  double beta_fast = 32;
  double beta_slow = 1;
  bool truncate = true;
};
std::vector<float> YarnRopeFactors(const YarnScaling& scaling, double theta, int rotary_dim);
// 0.1 * weight * ln(factor) + 1: what YaRN multiplies attention with; 1 for a factor up to 1.
double YarnMagnitude(double factor, double weight = 1);

// What LongRoPE (arxiv 2402.13753) multiplies attention with, unless a model says otherwise, when
// it stretches `original` positions to `context`.
double LongRopeMagnitude(int context, int original);

}  // namespace doppler
