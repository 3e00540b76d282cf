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

// Chooses chosen.size() experts by their scores, [num_experts], which are used as scratch. Equal
// ones go by number. Throws Error if a score is not finite.
//
// kSoftmax: the most probable of a softmax over all, weighted by their probabilities.
// kSparseMixer (the inference path of Phi-3.5-MoE's published code): one after the other, the
//   expert of the highest score; its weight is its part in a softmax over those scores that are not
//   below the highest by more than 2 * jitter of their own size, or of the highest if that is more.
// kSigmoid (arxiv 2412.19437): the highest of sigmoid(score) + correction within the best groups,
//   a group counting by the sum of its best two; weighted by sigmoid(score).
//   `correction`: [num_experts].
//
// With normalize_expert_weights the weights of kSoftmax and kSigmoid are made to add up to 1; then
// they are multiplied with expert_weight_scale.
void RouteToken(const ModelConfig& config, std::span<float> scores,
                std::span<const float> correction, std::span<RoutedExpert> chosen);

}  // namespace doppler
