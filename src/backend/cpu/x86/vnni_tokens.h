// Activations as kernels of AVX-512 VNNI read them, for tests that call these themselves.
#pragma once

#include <vector>

#include "backend/cpu/quantized_scratch.h"
#include "backend/kernel_cases.h"

namespace doppler {

// In memory of their own.
class VnniTokens {
 public:
  VnniTokens(DType weights, int tokens, int cols) {
    const QuantizedLayout layout(0, tokens, cols, {.unsigned_values = true, .whole_values = false});
    memory_.resize(layout.end / sizeof(CacheLine));
    rows_ = layout.At(reinterpret_cast<std::byte*>(memory_.data()));
    if (weights != DType::kMxfp4) rows_.residuals = nullptr;
    rows_.cols = cols;
    rows_.stride = PaddedStride(cols);
    const std::vector<float> values = GaussianValues(tokens * cols, 21);
    for (int t = 0; t < tokens; ++t) {
      KernelsOf(CpuPath::kAvx512Vnni)
          .quantize(values.data() + static_cast<std::ptrdiff_t>(t) * cols, RowsFrom(rows_, t));
    }
  }

  const QuantizedRows& rows() const { return rows_; }

 private:
  std::vector<CacheLine> memory_;
  QuantizedRows rows_;
};

}  // namespace doppler
