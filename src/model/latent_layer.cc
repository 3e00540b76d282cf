#include "model/latent_layer.h"

#include <algorithm>

#include "model/layer.h"

namespace doppler {
namespace {

// Sizes of one head.
struct HeadShape {
  explicit HeadShape(const ModelConfig& config)
      : plain(config.head_dim - config.rope_head_dim),
        rotated(config.rope_head_dim),
        value(config.value_head_dim),
        rank(config.kv_lora_rank) {}

  int plain, rotated, value, rank;
};

// Into activations.query and .key.
void ProjectQueriesAndKeys(const Model& model, const LayerWeights& weights, int tokens,
                           Activations& activations) {
  const Rows normed = Head(activations.normed, tokens);
  const Rows query = Head(activations.query, tokens);
  const Rows key = Head(activations.key, tokens);
  const Projection kv_a = {.weight = weights.latent.kv_a, .bias = {}};
  if (model.config.q_lora_rank == 0) {
    ProjectAll(model, {{weights.query, query}, {kv_a, key}}, normed);
    return;
  }
  const Rows latent = Head(activations.query_latent, tokens);
  ProjectAll(model, {{weights.latent.query_a, latent}, {kv_a, key}}, normed);
  model.backend.RmsNorm(latent, weights.latent.query_norm, model.config.norm_epsilon, latent);
  Project(model, weights.query, latent, query);
}

// The key part of each head's projection, or the value part.
HeadMatrices PartOf(const WeightMatrix& kv_b, const ModelConfig& config, bool value) {
  const HeadShape head(config);
  return {.all = kv_b,
          .heads = config.num_heads,
          .stride = head.plain + head.value,
          .first = value ? head.plain : 0,
          .rows = value ? head.value : head.plain};
}

HeadMatrices Whole(const WeightMatrix& all, int heads) {
  const int rows = all.rows / heads;
  return {.all = all, .heads = heads, .stride = rows, .first = 0, .rows = rows};
}

// absorbed = the plain part of each query through its head's key projection, then its rotated part.
void AbsorbQueries(const Model& model, const LatentWeights& weights, int tokens,
                   Activations& activations) {
  const ModelConfig& config = model.config;
  const HeadShape head(config);
  const Rows query = Head(activations.query, tokens);
  const Rows absorbed = Head(activations.absorbed, tokens);
  const int step = head.rank + head.rotated;
  if (config.split_kv_b) {
    model.backend.MatMulHeads(Whole(weights.key_b, config.num_heads), query, config.head_dim,
                              absorbed, step);
  } else {
    model.backend.MatMulHeadsTransposed(PartOf(weights.kv_b, config, false), query, config.head_dim,
                                        absorbed, step);
  }
  for (int t = 0; t < tokens; ++t) {
    for (int h = 0; h < config.num_heads; ++h) {
      const float* rotated = query.Row(t) + h * config.head_dim + head.plain;
      std::copy_n(rotated, head.rotated, absorbed.Row(t) + h * step + head.rank);
    }
  }
}

void ProjectValues(const Model& model, const LatentWeights& weights, int tokens,
                   Activations& activations) {
  const ModelConfig& config = model.config;
  const HeadMatrices values = config.split_kv_b ? Whole(weights.value_b, config.num_heads)
                                                : PartOf(weights.kv_b, config, true);
  model.backend.MatMulHeads(values, Head(activations.attended_latent, tokens), config.kv_lora_rank,
                            Head(activations.attended, tokens), config.value_head_dim);
}

void LatentAttention(const Model& model, LayerId layer, int tokens, int first_position,
                     const KvView& kv, Activations& activations) {
  const ModelConfig& config = model.config;
  const LayerWeights& weights = model.weights.layers[layer.index()];
  const HeadShape head(config);
  const Rows query = Head(activations.query, tokens);
  const Rows key = Head(activations.key, tokens);
  const Rows cos = Head(activations.cos, tokens);
  const Rows sin = Head(activations.sin, tokens);

  ProjectQueriesAndKeys(model, weights, tokens, activations);
  const Rows latent = Columns(key, 0, head.rank);
  model.backend.RmsNorm(latent, weights.latent.kv_norm, config.norm_epsilon, latent);
  model.backend.Rope(
      query,
      {.head_dim = config.head_dim, .offset = head.plain, .interleaved = config.rope_interleaved},
      cos, sin);
  model.backend.Rope(key,
                     {.head_dim = head.rank + head.rotated,
                      .offset = head.rank,
                      .interleaved = config.rope_interleaved},
                     cos, sin);
  model.backend.StoreKv(key, {}, first_position, kv);

  AbsorbQueries(model, weights.latent, tokens, activations);
  const AttentionShape shape{
      .heads = config.num_heads, .scale = AttentionScale(config), .sinks = {}};
  model.backend.Attention(Head(activations.absorbed, tokens), shape, first_position, kv,
                          Head(activations.attended_latent, tokens));
  ProjectValues(model, weights.latent, tokens, activations);
  Project(model, weights.attention_out, Head(activations.attended, tokens),
          Head(activations.branch, tokens));
}

}  // namespace

void LatentLayer(const Model& model, LayerId layer, int tokens, int first_position,
                 const KvView& kv, Activations& activations) {
  const LayerWeights& weights = model.weights.layers[layer.index()];
  const Rows hidden = Head(activations.hidden, tokens);

  Normalize(model, weights.attention_norm, hidden, Head(activations.normed, tokens));
  LatentAttention(model, layer, tokens, first_position, kv, activations);
  model.backend.Add(Head(activations.branch, tokens), hidden);
  FfnHalf(model, layer, tokens, first_position, activations);
}

}  // namespace doppler
