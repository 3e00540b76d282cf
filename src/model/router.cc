#include "model/router.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/alloc_guard.h"
#include "base/error.h"

namespace doppler {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// There is no order to choose by otherwise.
void RequireFinite(std::span<const float> scores) {
  for (const float score : scores) {
    if (std::isfinite(score)) continue;
    const AllowAllocScope message;
    throw Error("a router's scores are not finite numbers; the model's weights are damaged");
  }
}

void Softmax(std::span<float> values) {
  const float largest = *std::max_element(values.begin(), values.end());
  float sum = 0;
  for (float& value : values) {
    value = std::exp(value - largest);
    sum += value;
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

void ChooseBySoftmax(std::span<float> scores, std::span<RoutedExpert> chosen) {
  Softmax(scores);
  for (RoutedExpert& routed : chosen) {
    const std::size_t best = ArgMax(scores);
    routed = {.expert = ExpertId(best), .weight = scores[best]};
    scores[best] = kNever;
  }
}

void ChooseBySparseMixer(float jitter, std::span<float> scores, std::span<RoutedExpert> chosen) {
  for (RoutedExpert& routed : chosen) {
    const std::size_t best = ArgMax(scores);
    const float highest = scores[best];
    float sum = 0;
    for (const float score : scores) {
      if (score == kNever) continue;
      const float size = std::max(std::abs(score), highest);
      if ((highest - score) / size > 2 * jitter) continue;
      sum += std::exp(score - highest);
    }
    routed = {.expert = ExpertId(best), .weight = 1 / sum};
    scores[best] = kNever;
  }
}

float SumOfBestTwo(std::span<const float> values) {
  float first = kNever;
  float second = kNever;
  for (const float value : values) {
    second = std::max(second, std::min(first, value));
    first = std::max(first, value);
  }
  return values.size() == 1 ? first : first + second;
}

// Whether `group` is among the `used` best, of equal ones the first.
bool IsUsed(std::span<const float> scores, std::size_t groups, std::size_t used,
            std::size_t group) {
  const std::size_t size = scores.size() / groups;
  const float own = SumOfBestTwo(scores.subspan(group * size, size));
  std::size_t better = 0;
  for (std::size_t other = 0; other < groups; ++other) {
    const float score = SumOfBestTwo(scores.subspan(other * size, size));
    if (score > own || (score == own && other < group)) ++better;
  }
  return better < used;
}

// Keeps `chosen` the best experts so far, in falling order; an id past the end marks a free place.
void Insert(std::span<const float> scores, std::size_t expert, std::span<RoutedExpert> chosen) {
  std::size_t candidate = expert;
  for (RoutedExpert& routed : chosen) {
    const std::size_t held = routed.expert.index();
    if (held < scores.size() && scores[held] >= scores[candidate]) continue;
    routed.expert = ExpertId(candidate);
    if (held >= scores.size()) return;
    candidate = held;
  }
}

void ChooseBySigmoid(const ModelConfig& config, std::span<float> scores,
                     std::span<const float> correction, std::span<RoutedExpert> chosen) {
  DOPPLER_CHECK(correction.size() == scores.size());
  for (std::size_t e = 0; e < scores.size(); ++e) {
    scores[e] = 1 / (1 + std::exp(-scores[e])) + correction[e];
  }
  const auto groups = static_cast<std::size_t>(config.expert_groups);
  const auto used = static_cast<std::size_t>(config.expert_groups_used);
  const std::size_t size = scores.size() / groups;
  for (RoutedExpert& routed : chosen) routed.expert = ExpertId(scores.size());
  for (std::size_t group = 0; group < groups; ++group) {
    if (!IsUsed(scores, groups, used, group)) continue;
    for (std::size_t e = group * size; e < (group + 1) * size; ++e) {
      Insert(scores, e, chosen);
    }
  }
  for (RoutedExpert& routed : chosen) {
    const std::size_t e = routed.expert.index();
    routed.weight = scores[e] - correction[e];
  }
}

}  // namespace

void RouteToken(const ModelConfig& config, std::span<float> scores,
                std::span<const float> correction, std::span<RoutedExpert> chosen) {
  RequireFinite(scores);
  switch (config.routing) {
    case RoutingKind::kSoftmax:
      ChooseBySoftmax(scores, chosen);
      break;
    case RoutingKind::kSparseMixer:
      ChooseBySparseMixer(config.router_jitter, scores, chosen);
      break;
    case RoutingKind::kSigmoid:
      ChooseBySigmoid(config, scores, correction, chosen);
      break;
  }
  float sum = 0;
  for (const RoutedExpert& routed : chosen) sum += routed.weight;
  const bool normalize =
      config.normalize_expert_weights && config.routing != RoutingKind::kSparseMixer;
  for (RoutedExpert& routed : chosen) {
    if (normalize) routed.weight /= sum;
    routed.weight *= config.expert_weight_scale;
  }
}

}  // namespace doppler
