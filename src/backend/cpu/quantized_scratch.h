// Scratch memory for activations as int8 (see QuantizedRows).
#pragma once

#include <cstddef>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "base/bytes.h"

namespace doppler {

struct alignas(64) CacheLine {
  std::byte bytes[64];
};

// From one row of `cols` int8 values to the next: an odd number of lines, since rows that are a
// multiple of some KiB apart would want the same places of the first-level cache.
constexpr int PaddedStride(int cols) { return (cols + 63) / 64 / 2 * 128 + 64; }

// Which of the parts that not every path reads there are.
struct QuantizedParts {
  bool unsigned_values;
  bool whole_values;
};

// Where the parts of quantised activations lie in scratch memory that begins at `begin`.
struct QuantizedLayout {
  QuantizedLayout(Bytes begin, int tokens, int cols, const QuantizedParts& parts);

  // With residuals. REQUIRES: `base` is what the layout is within.
  QuantizedRows At(std::byte* base) const;

  QuantizedParts parts;
  Bytes values, residuals, unsigned_values, unsigned_residuals, whole_values;
  Bytes scales, sums32, sums16, whole_sums, whole_sums16, end;
};

struct ScratchLayout {
  // Halves take the place of a multiple of 16 tokens.
  static int QuantizedTokens(int tokens, const CpuKernels& kernels) {
    if (kernels.quantize == nullptr) return 0;
    return kernels.to_halves == nullptr ? tokens : InHalfTiles(tokens);
  }

  ScratchLayout(const KernelLimits& limits, const CpuKernels& kernels)
      : ScratchLayout(limits, QuantizedTokens(limits.tokens, kernels),
                      {kernels.reads_unsigned, kernels.reads_whole_values}) {}
  ScratchLayout(const KernelLimits& limits, int quantized_tokens, const QuantizedParts& parts)
      : call(0, quantized_tokens, limits.cols, parts),
        kept(call.end, quantized_tokens, limits.kept_cols, parts),
        chosen(kept.end),
        end(chosen + AlignUp(static_cast<Bytes>(limits.tokens) *
                                 static_cast<Bytes>(limits.kept_cols) * sizeof(float),
                             sizeof(CacheLine))) {}

  QuantizedLayout call;  // of the call in progress
  QuantizedLayout kept;
  Bytes chosen;  // [tokens, kept_cols], floats
  Bytes end;
};

// The values from `start` on, a multiple of 32.
QuantizedRows ValuesFrom(const QuantizedRows& all, std::ptrdiff_t start);
// The rows from `row` on.
QuantizedRows RowsFrom(const QuantizedRows& all, int row);
// Row `to` of `out` becomes row `from` of `all`.
void CopyRow(const QuantizedRows& all, int from, const QuantizedRows& out, int to);

}  // namespace doppler
