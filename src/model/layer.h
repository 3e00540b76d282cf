// The layer that Llama, Mistral, Mixtral and Qwen share: RMSNorm, grouped-query attention with
// rotary positions, RMSNorm, and a SwiGLU ffn or a mixture of such experts. Its variations (norms
// of query and key heads, experts or not) are switches of the configuration.
#pragma once

#include "model/forward.h"

namespace doppler {

void TransformerLayer(const Model& model, LayerId layer, int tokens, int first_position,
                      const KvView& kv, Activations& activations);

// The halves of the layer, for other layers that share one of them. Each reads activations.normed
// and leaves what it adds to the residual stream in activations.branch.
void GroupedQueryAttention(const Model& model, LayerId layer, int tokens, int first_position,
                           const KvView& kv, Activations& activations);
void DenseFfn(const Model& model, LayerId layer, int tokens, Activations& activations);

}  // namespace doppler
