// What the thread sanitizer is told of matrix products.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels.h"

// Functions of its runtime, which a compiler calls for whole ranges.
#ifdef __SANITIZE_THREAD__
extern "C" {
void __tsan_read_range(void* from, unsigned long bytes);   // NOLINT(bugprone-reserved-identifier)
void __tsan_write_range(void* from, unsigned long bytes);  // NOLINT(bugprone-reserved-identifier)
}
#endif

namespace doppler {

// Files of products are compiled without the thread sanitizer, which would also watch each access
// to sums that no other thread knows of. Instead it is told here of all that a product reads and
// writes, range by range. Does nothing in other builds.
#ifdef __SANITIZE_THREAD__
inline void TellOfReads(const void* from, std::size_t bytes) {
  if (from != nullptr) __tsan_read_range(const_cast<void*>(from), bytes);
}

inline void TellOfAccesses(const MatMulTile& tile) {
  const auto cols = static_cast<std::size_t>(tile.cols);
  const auto stride = static_cast<std::size_t>(tile.quantized.stride);
  const auto tokens = static_cast<std::size_t>(tile.tokens);
  TellOfReads(tile.weights, static_cast<std::size_t>(tile.rows) * tile.row_bytes);
  const QuantizedRows& x = tile.quantized;
  TellOfReads(x.values, tokens * stride);
  TellOfReads(x.residuals, tokens * stride);
  TellOfReads(x.unsigned_values, tokens * stride);
  TellOfReads(x.unsigned_residuals, tokens * stride);
  TellOfReads(x.whole_values, tokens * stride * sizeof(std::int16_t));
  TellOfReads(x.scales, tokens * (stride / 32) * sizeof(float));
  TellOfReads(x.sums32, tokens * (stride / 32) * sizeof(float));
  TellOfReads(x.sums16, tokens * (stride / 16) * sizeof(float));
  TellOfReads(x.whole_sums, tokens * (stride / 32) * sizeof(std::int32_t));
  TellOfReads(x.whole_sums16, tokens * (stride / 16) * sizeof(std::int32_t));
  const auto half_tokens = static_cast<std::size_t>(InHalfTiles(tile.tokens));
  TellOfReads(x.halves, half_tokens * cols * sizeof(Bf16));
  TellOfReads(x.half_residuals, half_tokens * cols * sizeof(Bf16));
  for (int t = 0; t < tile.tokens; ++t) {
    if (x.cols == 0) TellOfReads(tile.in + t * tile.in_stride, cols * sizeof(float));
    __tsan_write_range(tile.out + t * tile.out_stride,
                       static_cast<std::size_t>(tile.rows) * sizeof(float));
  }
}
#else
inline void TellOfAccesses(const MatMulTile&) {}
#endif

}  // namespace doppler
