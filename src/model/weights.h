// A model's weights as the forward pass uses them: plain views into memory that others own.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/ids.h"
#include "model/config.h"
#include "tier/dense_weights.h"

namespace doppler {

struct LayerWeights {
  std::span<const float> attention_norm;  // [model_dim]
  WeightMatrix query;                     // [heads * head_dim, model_dim]
  WeightMatrix key;                       // [kv_heads * head_dim, model_dim]
  WeightMatrix value;                     // [kv_heads * head_dim, model_dim]
  std::span<const float> query_norm;      // [head_dim], empty without query_key_norm
  std::span<const float> key_norm;        // [head_dim], empty without query_key_norm
  WeightMatrix attention_out;             // [model_dim, heads * head_dim]
  std::span<const float> ffn_norm;        // [model_dim]

  WeightMatrix router;  // [num_experts, model_dim], in a layer with experts

  WeightMatrix gate;  // [ffn_dim, model_dim], in a layer without
  WeightMatrix up;    // [ffn_dim, model_dim]
  WeightMatrix down;  // [model_dim, ffn_dim]
};

struct Weights {
  WeightMatrix embedding;  // [vocab_size, model_dim]
  std::vector<LayerWeights> layers;
  std::span<const float> final_norm;  // [model_dim]
  WeightMatrix output;                // [vocab_size, model_dim]; the embedding when tied

  std::vector<float> norms;  // what the norm spans point into
};

// The names of all tensors that are not an expert's.
std::vector<std::string> DenseTensorNames(const ModelConfig& config);

// Floats that Weights keeps of its own, for the plan.
std::size_t NormFloats(const ModelConfig& config);

// Throws Error if a tensor of the artifact has another shape than `config` says, or is not stored
// whole and row by row.
void CheckShapes(const Manifest& manifest, const ModelConfig& config);

// REQUIRES: `dense` holds DenseTensorNames(config) and outlives the result; CheckShapes passed.
Weights MakeWeights(const DenseWeights& dense, const ModelConfig& config);

}  // namespace doppler
