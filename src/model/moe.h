// The mixture of experts: route, page in, compute expert by expert, add up.
#pragma once

#include "model/forward.h"

namespace doppler {

// Reads activations.normed and leaves the weighted sum of each token's experts in
// activations.branch. Experts are computed as their bytes arrive (ExpertSchedule); the sum runs in
// the router's order, so that this does not change the answer.
void MoeFfn(const Model& model, LayerId layer, int tokens, int first_position,
            Activations& activations);

}  // namespace doppler
