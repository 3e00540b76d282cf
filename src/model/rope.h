// The angles of rotary position embedding.
#pragma once

#include <vector>

#include "backend/backend.h"
#include "model/config.h"

namespace doppler {

// One frequency per pair of a head: theta^(-2 i / head_dim) / factor[i], in radians per position.
std::vector<float> RopeFrequencies(const ModelConfig& config);

// Fills row t of cos and sin with the angles of position first_position + t.
// cos, sin: [tokens, head_dim / 2].
void FillRope(const std::vector<float>& frequencies, int first_position, Rows cos, Rows sin);

}  // namespace doppler
