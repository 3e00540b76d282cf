#include "model/router.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/alloc_guard.h"
#include "base/error.h"

namespace doppler {
namespace {

// Throws Error when a score is not finite: then there is no order to choose by.
void Softmax(std::span<float> values) {
  const float largest = *std::max_element(values.begin(), values.end());
  float sum = 0;
  for (float& value : values) {
    value = std::exp(value - largest);
    sum += value;
  }
  if (!std::isfinite(sum)) {
    const AllowAllocScope message;
    throw Error("a router's scores are not finite numbers; the model's weights are damaged");
  }
  for (float& value : values) value /= sum;
}

// The index of the largest value, the lowest of several.
std::size_t ArgMax(std::span<const float> values) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    if (values[i] > values[best]) best = i;
  }
  return best;
}

}  // namespace

void RouteToken(const ModelConfig& config, std::span<float> scores,
                std::span<RoutedExpert> chosen) {
  Softmax(scores);
  float sum = 0;
  for (RoutedExpert& routed : chosen) {
    const std::size_t best = ArgMax(scores);
    routed = {.expert = ExpertId(best), .weight = scores[best]};
    sum += routed.weight;
    scores[best] = -std::numeric_limits<float>::infinity();
  }
  if (!config.normalize_expert_weights) return;
  for (RoutedExpert& routed : chosen) routed.weight /= sum;
}

}  // namespace doppler
