// Rows of weights to and from float, by the definition of each format (ggml's block layouts,
// described in docs/format.md). Plain loops: these functions are what every kernel is tested
// against.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>

#include "backend/dtype.h"
#include "backend/weight_matrix.h"

namespace doppler {

// Writes out.size() floats from `blocks`, bit for bit what ggml's own dequantisation gives.
// REQUIRES: out.size() is a multiple of the block size and `blocks` holds exactly that many; the
// format has its scales in the blocks.
void Dequantize(DType dtype, std::span<const std::byte> blocks, std::span<float> out);

// Writes columns [begin, begin + out.size()) of a row of a matrix in any format.
// REQUIRES: both ends are multiples of the block size, and inside the matrix.
void DequantizeColumns(const WeightMatrix& matrix, std::size_t row, std::size_t begin,
                       std::span<float> out);

// Whether Quantize can write `dtype`: every float format, q8_0, q4_0, q4_k, q5_k, q6_k and mxfp4.
bool CanQuantize(DType dtype);

// What a block's f16 scale can reach whatever its format.
inline constexpr float kLargestQuantizable = 65504;

inline bool IsQuantizable(float value) { return std::abs(value) <= kLargestQuantizable; }

// The inverse. Float formats round to nearest, and q8_0 gives ggml's bytes. The others search the
// scales of a block for the least squared error; docs/kernels.md compares them with ggml's.
// REQUIRES: CanQuantize(dtype), values.size() is a multiple of the block size, `blocks` fits
// exactly; for block formats every value IsQuantizable (NaN is not).
void Quantize(DType dtype, std::span<const float> values, std::span<std::byte> blocks);

}  // namespace doppler
