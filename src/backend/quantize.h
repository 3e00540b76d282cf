// Rows of weights to and from float, by the definition of each format (ggml's block layouts,
// described in docs/format.md). Plain loops: these functions are what every kernel is tested
// against.
#pragma once

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

// Whether Quantize can write `dtype`: every float format, q8_0 and q4_k.
bool CanQuantize(DType dtype);

// The inverse, rounding to nearest. q8_0 gives ggml's bytes; q4_k searches scales and minimums per
// sub-block for the least weighted squared error, as ggml does without an importance matrix.
// REQUIRES: CanQuantize(dtype), values.size() is a multiple of the block size, `blocks` fits
// exactly.
void Quantize(DType dtype, std::span<const float> values, std::span<std::byte> blocks);

}  // namespace doppler
