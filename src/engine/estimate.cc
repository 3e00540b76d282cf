#include "engine/estimate.h"

#include <algorithm>
#include <array>

namespace doppler {
namespace {

struct CurvePoint {
  double resident;
  double hits;
};
constexpr std::array<CurvePoint, 4> kHitCurve = {{{0, 0}, {0.12, 0.56}, {0.24, 0.80}, {1, 1}}};

}  // namespace

double ExpectedHitRate(std::size_t slots, std::size_t records, std::size_t slots_per_token) {
  if (records == 0 || slots >= records) return 1;
  if (slots < slots_per_token) return 0;
  const double resident = static_cast<double>(slots) / static_cast<double>(records);
  for (std::size_t i = 1; i < kHitCurve.size(); ++i) {
    const CurvePoint& low = kHitCurve[i - 1];
    const CurvePoint& high = kHitCurve[i];
    if (resident > high.resident) continue;
    const double along = (resident - low.resident) / (high.resident - low.resident);
    return low.hits + along * (high.hits - low.hits);
  }
  return 1;
}

SpeedEstimate EstimateSpeed(const SpeedInputs& inputs) {
  SpeedEstimate estimate;
  estimate.hit_rate = ExpectedHitRate(inputs.slots, inputs.records, inputs.slots_per_token);
  const auto expert_bytes = static_cast<double>(inputs.experts_per_token);
  const double misses = (1 - estimate.hit_rate) * expert_bytes;
  estimate.compute_seconds =
      (static_cast<double>(inputs.dense_per_token) + expert_bytes) / inputs.memory_rate;
  estimate.read_seconds = misses > 0 ? misses / inputs.disk_rate : 0;
  if (inputs.streamed_per_token > 0) {
    estimate.stream_seconds = static_cast<double>(inputs.streamed_per_token) / inputs.disk_rate;
  }
  estimate.tokens_per_second =
      1 / (std::max(estimate.compute_seconds, estimate.stream_seconds) + estimate.read_seconds);
  return estimate;
}

SpeedInputs SpeedInputsOf(const ModelConfig& config, const ModelSizes& sizes,
                          const MemoryPlan& plan) {
  SpeedInputs inputs;
  inputs.slots = plan.slots;
  inputs.records = plan.records;
  inputs.streamed_per_token = plan.streamed_per_pass;
  // Of the embedding a token reads one row; a tied table is read in full for the logits.
  inputs.dense_per_token =
      config.tied_embeddings ? sizes.dense : sizes.dense - std::min(sizes.dense, sizes.embedding);
  if (sizes.records > 0) {
    inputs.slots_per_token = static_cast<std::size_t>(config.NumMoeLayers()) *
                             static_cast<std::size_t>(config.experts_per_token);
    inputs.experts_per_token = sizes.experts_total / sizes.records * inputs.slots_per_token;
  }
  return inputs;
}

}  // namespace doppler
