// The angles of rotary position embedding.
#pragma once

#include <vector>

#include "backend/backend.h"
#include "model/config.h"

namespace doppler {

struct Rope {
  std::vector<float> frequencies;  // [RotaryDim / 2], radians per position
  float magnitude = 1;             // factor to cosine and sine
};

// theta^(-2 i / rotary_dim) / factor[i], with one of the configuration's lists of factors.
Rope RopeOf(const ModelConfig& config, const RopeScaling& scaling);

// Fills row t of cos and sin with the angles of position first_position + t.
// cos, sin: [tokens, rotary_dim / 2].
void FillRope(const Rope& rope, int first_position, Rows cos, Rows sin);

}  // namespace doppler
