#include "model/layer.h"

#include <array>
#include <cmath>

#include "base/error.h"
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

  ProjectAll(model, {{weights.query, query}, {weights.key, key}, {weights.value, value}}, normed);
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

void ProjectAll(const Model& model, std::initializer_list<Projected> all, ConstRows in) {
  constexpr std::size_t kMost = 3;
  DOPPLER_CHECK(all.size() <= kMost);
  std::array<Product, kMost> products;
  std::size_t count = 0;
  for (const auto& [projection, out] : all) products[count++] = {&projection.weight, in, out};
  model.backend.MatMulAll(std::span(products).first(count));
  for (const auto& [projection, out] : all) {
    if (!projection.bias.empty()) model.backend.AddBias(projection.bias, out);
  }
}

void Project(const Model& model, const Projection& projection, ConstRows in, Rows out) {
  ProjectAll(model, {{projection, out}}, in);
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
  const GatedProduct unit = {.rows = {},
                             .gate = &weights.gate,
                             .up = &weights.up,
                             .gate_bias = {},
                             .up_bias = {},
                             .up_values = Head(activations.up, in.rows, weights.up.rows),
                             .out = Head(activations.gate, in.rows, weights.gate.rows)};
  model.backend.MatMulGated({&unit, 1}, {}, in);
  model.backend.MatMul(weights.down, unit.out, out);
}

}  // namespace doppler
