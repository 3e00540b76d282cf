// Which experts a token goes to, and how much each counts.
#pragma once

#include <span>

#include "base/ids.h"
#include "model/config.h"

namespace doppler {

struct RoutedExpert {
  ExpertId expert;
  float weight = 0;
};

// Softmax over all experts' scores, then the `chosen.size()` most probable in falling order (equal
// ones by number), their weights scaled to add up to 1 if the configuration says so. `scores` is
// used as scratch. Throws Error if a score is not finite. [num_experts] -> [experts_per_token]
void RouteToken(const ModelConfig& config, std::span<float> scores, std::span<RoutedExpert> chosen);

}  // namespace doppler
