#include "model/layer.h"

#include <cmath>

#include "model/moe.h"

namespace doppler {

void TransformerLayer(const Model& model, LayerId layer, int tokens, int first_position,
                      const KvView& kv, Activations& activations) {
  const LayerWeights& weights = model.weights.layers[layer.index()];
  const float epsilon = model.config.rms_norm_epsilon;
  const Rows hidden = Head(activations.hidden, tokens);
  const Rows normed = Head(activations.normed, tokens);
  const Rows branch = Head(activations.branch, tokens);

  model.backend.RmsNorm(hidden, weights.attention_norm, epsilon, normed);
  GroupedQueryAttention(model, layer, tokens, first_position, kv, activations);
  model.backend.Add(branch, hidden);

  model.backend.RmsNorm(hidden, weights.ffn_norm, epsilon, normed);
  if (model.config.HasExperts(layer)) {
    MoeFfn(model, layer, tokens, first_position, activations);
  } else {
    DenseFfn(model, layer, tokens, activations);
  }
  model.backend.Add(branch, hidden);
}

void GroupedQueryAttention(const Model& model, LayerId layer, int tokens, int first_position,
                           const KvView& kv, Activations& activations) {
  const ModelConfig& config = model.config;
  const LayerWeights& weights = model.weights.layers[layer.index()];
  const Rows normed = Head(activations.normed, tokens);
  const Rows query = Head(activations.query, tokens);
  const Rows key = Head(activations.key, tokens);
  const Rows value = Head(activations.value, tokens);
  const Rows attended = Head(activations.attended, tokens);
  const Rows cos = Head(activations.cos, tokens);
  const Rows sin = Head(activations.sin, tokens);

  model.backend.MatMul(weights.query, normed, query);
  model.backend.MatMul(weights.key, normed, key);
  model.backend.MatMul(weights.value, normed, value);
  if (config.query_key_norm) {
    model.backend.RmsNorm(query, weights.query_norm, config.rms_norm_epsilon, query);
    model.backend.RmsNorm(key, weights.key_norm, config.rms_norm_epsilon, key);
  }
  model.backend.Rope(query, config.head_dim, cos, sin);
  model.backend.Rope(key, config.head_dim, cos, sin);
  model.backend.StoreKv(key, value, first_position, kv);

  const float scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  model.backend.Attention(query, config.num_heads, scale, first_position, kv, attended);
  model.backend.MatMul(weights.attention_out, attended, Head(activations.branch, tokens));
}

void DenseFfn(const Model& model, LayerId layer, int tokens, Activations& activations) {
  const LayerWeights& weights = model.weights.layers[layer.index()];
  const Rows normed = Head(activations.normed, tokens);
  const Rows gate = Head(activations.gate, tokens, model.config.ffn_dim);
  const Rows up = Head(activations.up, tokens, model.config.ffn_dim);
  model.backend.MatMul(weights.gate, normed, gate);
  model.backend.MatMul(weights.up, normed, up);
  model.backend.SwiGlu(gate, up, gate);
  model.backend.MatMul(weights.down, gate, Head(activations.branch, tokens));
}

}  // namespace doppler
