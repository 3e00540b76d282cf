// A model's weights as the forward pass uses them: plain views into memory that others own.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/function_ref.h"
#include "base/ids.h"
#include "model/config.h"
#include "tier/dense_weights.h"
#include "tier/weight_stream.h"

namespace doppler {

struct NormWeights {
  std::span<const float> weight;  // [dim]
  std::span<const float> bias;    // [dim] of a LayerNorm, empty for RMSNorm
};

struct Projection {
  WeightMatrix weight;          // [out, in]
  std::span<const float> bias;  // [out], or empty
};

// Multi-head latent attention.
struct LatentWeights {
  Projection query_a;                 // [q_lora_rank, model_dim], if there is such a rank
  std::span<const float> query_norm;  // [q_lora_rank]
  WeightMatrix kv_a;                  // [kv_lora_rank + rope_head_dim, model_dim]
  std::span<const float> kv_norm;     // [kv_lora_rank]
  WeightMatrix kv_b;                  // [heads * (plain + value_head_dim), kv_lora_rank], or:
  WeightMatrix key_b;                 // [heads * kv_lora_rank, plain]
  WeightMatrix value_b;               // [heads * value_head_dim, kv_lora_rank]
};

struct GatedUnitWeights {
  WeightMatrix gate;  // [ffn_dim, model_dim]
  WeightMatrix up;    // [ffn_dim, model_dim]
  WeightMatrix down;  // [model_dim, ffn_dim]
};

// The biases of all experts of a layer, a row for each; empty without expert_bias.
struct ExpertBiases {
  WeightMatrix gate;  // [num_experts, expert_ffn_dim]
  WeightMatrix up;    // [num_experts, expert_ffn_dim]
  WeightMatrix down;  // [num_experts, model_dim]
};

struct LayerWeights {
  NormWeights attention_norm;
  Projection query;                   // [heads * head_dim, model_dim, or q_lora_rank]
  Projection key;                     // [kv_heads * head_dim, model_dim]
  Projection value;                   // [kv_heads * head_dim, model_dim]
  std::span<const float> query_norm;  // [head_dim], empty without query_key_norm
  std::span<const float> key_norm;    // [head_dim], empty without query_key_norm
  std::span<const float> sinks;       // [heads], empty without attention_sinks
  LatentWeights latent;               // with latent attention, instead of key and value
  Projection attention_out;           // [model_dim, heads * value dim]
  NormWeights ffn_norm;

  Projection router;                         // [num_experts, model_dim], in a layer with experts
  std::span<const float> router_correction;  // [num_experts], of sigmoid routing
  ExpertBiases expert_biases;
  GatedUnitWeights shared;  // of the shared experts

  GatedUnitWeights ffn;  // in a layer without experts
};

// Visits the matrices that the layer has.
void ForEachMatrix(LayerWeights& layer, FunctionRef<void(WeightMatrix&)> visit);

struct Weights {
  WeightMatrix embedding;  // [vocab_size, model_dim]
  std::vector<LayerWeights> layers;
  NormWeights final_norm;
  Projection output;  // [vocab_size, model_dim]; the embedding when tied

  std::vector<float> vectors;  // what the spans point into
};

// The names of all tensors that are not an expert's.
std::vector<std::string> DenseTensorNames(const ModelConfig& config);

// The same names by their place.
struct DenseNames {
  std::vector<std::string> ends;                  // of no layer
  std::vector<std::vector<std::string>> layers;   // [layer]
  std::vector<std::vector<std::string>> vectors;  // [layer], of these what becomes float
};
DenseNames DenseNamesOf(const ModelConfig& config);

// Floats that Weights keeps of its own, for the plan: norms and biases.
std::size_t VectorFloats(const ModelConfig& config);

// Throws Error if a tensor of the artifact has another shape than `config` says, or is not stored
// whole and row by row.
void CheckShapes(const Manifest& manifest, const ModelConfig& config);

// Where tensors are found.
struct WeightSources {
  const DenseWeights& resident;
  const WeightStream* stream = nullptr;   // of matrices that are not resident
  const DenseWeights* vectors = nullptr;  // of norms and biases that are not resident
};

// Matrices of a streamed layer point to the stream's first buffer. REQUIRES: the sources hold
// DenseTensorNames(config) and outlive the result, but for `vectors`; CheckShapes passed.
Weights MakeWeights(const WeightSources& sources, const ModelConfig& config);

}  // namespace doppler
