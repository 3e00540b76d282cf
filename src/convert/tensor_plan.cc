#include "convert/tensor_plan.h"

#include <map>
#include <utility>

#include "backend/quantize.h"
#include "base/error.h"
#include "format/manifest.h"

namespace doppler {
namespace {

bool IsQuantizable(TensorRole role) {
  return role == TensorRole::kProjection || role == TensorRole::kExpert;
}

}  // namespace

TensorPlan PlanTensors(const Checkpoint& checkpoint, std::optional<DType> quantize) {
  if (quantize && (IsFloat(*quantize) || !CanQuantize(*quantize))) {
    throw UsageError(fmt::format("weights cannot be quantised to '{}'; choose q8_0 or q4_k",
                                 DTypeName(*quantize)));
  }
  TensorPlan plan;
  std::map<DType, int> already;                            // tensors by the format they have
  std::map<std::pair<DType, std::int64_t>, int> odd_rows;  // by format and row length
  for (const SourceTensor& source : checkpoint.tensors) {
    OutputTensor out = {.source = &source, .dtype = source.dtype, .size = source.size};
    if (quantize && IsQuantizable(source.spec.role)) {
      const std::int64_t cols = source.spec.shape.back();
      if (!IsFloat(source.dtype) && !HasScaleGrid(source.dtype)) {
        ++already[source.dtype];
      } else if (const auto size = TensorBytes(*quantize, source.spec.shape)) {
        out.dtype = *quantize;
        out.size = *size;
      } else {
        ++odd_rows[{source.dtype, cols}];
      }
    }
    plan.tensors.push_back(out);
  }
  for (const auto& [dtype, count] : already) {
    plan.notes.push_back(
        fmt::format("{} tensors are {} already and stay as they are", count, DTypeName(dtype)));
  }
  for (const auto& [kind, count] : odd_rows) {
    plan.notes.push_back(fmt::format(
        "{} tensors stay {}: their rows of {} values are not a multiple of {}'s blocks of {}",
        count, DTypeName(kind.first), kind.second, DTypeName(*quantize),
        Traits(*quantize).block_elements));
  }
  return plan;
}

}  // namespace doppler
