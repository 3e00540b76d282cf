// The layer that all families but those with latent attention share: norm, grouped-query attention
// with rotary positions, norm, and a gated unit or a mixture of such experts. Its variations
// (biases, sinks, windows, norms of query and key heads, experts or not) are switches of the
// configuration.
#pragma once

#include <initializer_list>

#include "model/forward.h"

namespace doppler {

void TransformerLayer(const Model& model, LayerId layer, int tokens, int first_position,
                      const KvView& kv, Activations& activations);

// The halves of the layer, for other layers that share one of them. Each reads activations.normed
// and leaves what it adds to the residual stream in activations.branch.
void GroupedQueryAttention(const Model& model, LayerId layer, int tokens, int first_position,
                           const KvView& kv, Activations& activations);
// The second half: norm, then the ffn or the experts, added to the residual stream.
void FfnHalf(const Model& model, LayerId layer, int tokens, int first_position,
             Activations& activations);

// Of the scores of attention.
float AttentionScale(const ModelConfig& config);
// A projection and where its values go.
struct Projected {
  const Projection& projection;
  Rows out;
};
// Each out = in * weight^T + bias, all in one go.
void ProjectAll(const Model& model, std::initializer_list<Projected> all, ConstRows in);
// out = in * weight^T + bias.
void Project(const Model& model, const Projection& projection, ConstRows in, Rows out);
// The norm that the configuration asks for. `in` and `out` may be the same.
void Normalize(const Model& model, const NormWeights& norm, ConstRows in, Rows out);
// down(act(gate(in)) * up(in)); gate and up are computed in activations.gate and .up.
void GatedUnit(const Model& model, const GatedUnitWeights& weights, ConstRows in, Rows out,
               Activations& activations);

}  // namespace doppler
