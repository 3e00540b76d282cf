// The layer of DeepSeek-V3 and Kimi K2: multi-head latent attention (arxiv 2405.04434), then an ffn
// or a mixture of experts as in other layers.
//
// The KV holds one latent vector and one rotated key per token, which all heads share. Instead of
// expanding them to keys and values of every head, each head's query goes through its part of the
// key projection, attends to the latents themselves, and what it gathers goes through its part of
// the value projection.
#pragma once

#include "model/forward.h"

namespace doppler {

void LatentLayer(const Model& model, LayerId layer, int tokens, int first_position,
                 const KvView& kv, Activations& activations);

}  // namespace doppler
