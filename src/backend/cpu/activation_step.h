// The scale of activations that have one for a whole row. A function of each file that includes
// this, as block_factors.h says.
#pragma once

#include "backend/cpu/kernels.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// Activations with residuals share a scale, which is left for the sums of all columns: what those
// of `token` are then multiplied with. The products count in 1/256 of a step.
template <class Format>
float StepOf(const QuantizedRows& x, int token) {
  if constexpr (!Format::kReadsResiduals) return 1.0f;
  return x.scales[static_cast<std::ptrdiff_t>(token) * (x.stride / 32)] / 256;
}

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
