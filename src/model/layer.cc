#include "model/layer.h"

#include <cmath>

#include "model/moe.h"

namespace doppler {

void TransformerLayer(const Model& model, LayerId layer, int tokens, int first_position,
                      const KvView& kv, Activations& activations) {
  const LayerWeights& weights = model.weights.layers[layer.index()];
  const Rows hidden = Head(activations.hidden, tokens);

  Normalize(model, weights.attention_norm, hidden, Head(activations.normed, tokens));
  GroupedQueryAttention(model, layer, tokens, first_position, kv, activations);
  model.backend.Add(Head(activations.branch, tokens), hidden);
  FfnHalf(model, layer, tokens, first_position, activations);
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

  Project(model, weights.query, normed, query);
  Project(model, weights.key, normed, key);
  Project(model, weights.value, normed, value);
  if (config.query_key_norm) {
    model.backend.RmsNorm(query, weights.query_norm, config.norm_epsilon, query);
    model.backend.RmsNorm(key, weights.key_norm, config.norm_epsilon, key);
  }
  const RopeShape rope{.head_dim = config.head_dim, .interleaved = config.rope_interleaved};
  model.backend.Rope(query, rope, cos, sin);
  model.backend.Rope(key, rope, cos, sin);
  model.backend.StoreKv(key, value, first_position, kv);

  const AttentionShape shape{
      .heads = config.num_heads, .scale = AttentionScale(config), .sinks = weights.sinks};
  model.backend.Attention(query, shape, first_position, kv, attended);
  Project(model, weights.attention_out, attended, Head(activations.branch, tokens));
}

void FfnHalf(const Model& model, LayerId layer, int tokens, int first_position,
             Activations& activations) {
  const LayerWeights& weights = model.weights.layers[layer.index()];
  const Rows hidden = Head(activations.hidden, tokens);
  const Rows normed = Head(activations.normed, tokens);
  const Rows branch = Head(activations.branch, tokens);

  Normalize(model, weights.ffn_norm, hidden, normed);
  if (model.config.HasExperts(layer)) {
    MoeFfn(model, layer, tokens, first_position, activations);
    model.backend.Add(branch, hidden);
    if (model.config.shared_ffn_dim == 0) return;
    GatedUnit(model, weights.shared, normed, branch, activations);
  } else {
    GatedUnit(model, weights.ffn, normed, branch, activations);
  }
  model.backend.Add(branch, hidden);
}

float AttentionScale(const ModelConfig& config) {
  return config.attention_scale / std::sqrt(static_cast<float>(config.head_dim));
}

void Project(const Model& model, const Projection& projection, ConstRows in, Rows out) {
  model.backend.MatMul(projection.weight, in, out);
  if (!projection.bias.empty()) model.backend.AddBias(projection.bias, out);
}

void Normalize(const Model& model, const NormWeights& norm, ConstRows in, Rows out) {
  const float epsilon = model.config.norm_epsilon;
  if (model.config.norm == NormKind::kLayer) {
    model.backend.LayerNorm(in, norm.weight, norm.bias, epsilon, out);
  } else {
    model.backend.RmsNorm(in, norm.weight, epsilon, out);
  }
}

void GatedUnit(const Model& model, const GatedUnitWeights& weights, ConstRows in, Rows out,
               Activations& activations) {
  const Rows gate = Head(activations.gate, in.rows, weights.gate.rows);
  const Rows up = Head(activations.up, in.rows, weights.up.rows);
  model.backend.MatMul(weights.gate, in, gate);
  model.backend.MatMul(weights.up, in, up);
  model.backend.SwiGlu(gate, up, gate);
  model.backend.MatMul(weights.down, gate, out);
}

}  // namespace doppler
