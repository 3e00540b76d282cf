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

void ProjectQueries(const Model& model, const LayerWeights& weights, int tokens,
                    Activations& activations) {
  const Rows normed = Head(activations.normed, tokens);
  const Rows query = Head(activations.query, tokens);
  if (model.config.q_lora_rank == 0) {
    Project(model, weights.query, normed, query);
    return;
  }
  const Rows latent = Head(activations.query_latent, tokens);
  Project(model, weights.latent.query_a, normed, latent);
  model.backend.RmsNorm(latent, weights.latent.query_norm, model.config.norm_epsilon, latent);
  Project(model, weights.query, latent, query);
}

// absorbed = the plain part of each query through its head's key projection, then its rotated part.
void AbsorbQueries(const Model& model, const LatentWeights& weights, int tokens,
                   Activations& activations) {
  const HeadShape head(model.config);
  const Rows query = Head(activations.query, tokens);
  const Rows absorbed = Head(activations.absorbed, tokens);
  for (int h = 0; h < model.config.num_heads; ++h) {
    const Rows plain = Columns(query, h * model.config.head_dim, head.plain);
    const Rows out = Columns(absorbed, h * (head.rank + head.rotated), head.rank);
    if (model.config.split_kv_b) {
      model.backend.MatMul(RowRange(weights.key_b, h * head.rank, head.rank), plain, out);
    } else {
      const WeightMatrix rows = RowRange(weights.kv_b, h * (head.plain + head.value), head.plain);
      model.backend.MatMulTransposed(rows, plain, out);
    }
    for (int t = 0; t < tokens; ++t) {
      const float* rotated = query.Row(t) + (h + 1) * model.config.head_dim - head.rotated;
      std::copy_n(rotated, head.rotated, out.Row(t) + head.rank);
    }
  }
}

void ProjectValues(const Model& model, const LatentWeights& weights, int tokens,
                   Activations& activations) {
  const HeadShape head(model.config);
  const Rows latent = Head(activations.attended_latent, tokens);
  const Rows attended = Head(activations.attended, tokens);
  for (int h = 0; h < model.config.num_heads; ++h) {
    const WeightMatrix rows =
        model.config.split_kv_b
            ? RowRange(weights.value_b, h * head.value, head.value)
            : RowRange(weights.kv_b, h * (head.plain + head.value) + head.plain, head.value);
    model.backend.MatMul(rows, Columns(latent, h * head.rank, head.rank),
                         Columns(attended, h * head.value, head.value));
  }
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

  ProjectQueries(model, weights, tokens, activations);
  model.backend.MatMul(weights.latent.kv_a, Head(activations.normed, tokens), key);
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
