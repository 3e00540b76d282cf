// The matrix product over formats that are unpacked to int8 first, for x86 paths without a way
// of their own to read them. A stretch of
// a row is unpacked once and multiplied with every token of the tile.
//
// D is a struct of an unnamed namespace, so that each instantiation stays inside its file; its
// Dot(unsigned, signed) adds the products of 32 values into eight int32 lanes of four neighbours
// each.
#pragma once

#include <immintrin.h>

#include "backend/cpu/kernels.h"

namespace doppler {

template <class D>
struct UnpackedMatMul {
  static constexpr int kStretch = 256;  // a whole number of blocks of every type

  struct Stretch {
    alignas(32) std::int8_t values[kStretch];
    alignas(32) float scales[kStretch / 16];
    alignas(32) float offsets[kStretch / 16];
    int size;
  };

  static void Run(const MatMulTile& tile) {
    for (int row = 0; row < tile.rows; ++row) RunRow(tile, row);
  }

  static void RunRow(const MatMulTile& tile, int row) {
    __m256 sums[MatMulTile::kMaxTokens];
    for (int t = 0; t < tile.tokens; ++t) sums[t] = _mm256_setzero_ps();
    const unsigned char* blocks = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    Stretch stretch;
    for (int begin = 0; begin < tile.cols; begin += kStretch) {
      stretch.size = tile.cols - begin < kStretch ? tile.cols - begin : kStretch;
      blocks = Unpack(*tile.unpacker, blocks, stretch);
      for (int t = 0; t < tile.tokens; ++t) {
        sums[t] = Add(tile, stretch, static_cast<std::ptrdiff_t>(t) * tile.cols + begin, sums[t]);
      }
    }
    for (int t = 0; t < tile.tokens; ++t) {
      tile.out[t * tile.out_stride + row] = D::Sum(sums[t]);
    }
  }

  static const unsigned char* Unpack(const Unpacker& unpacker, const unsigned char* blocks,
                                     Stretch& out) {
    for (int i = 0; i < out.size; i += unpacker.block_elements) {
      unpacker.unpack(blocks, {out.values + i, out.scales + i / 16, out.offsets + i / 16});
      blocks += unpacker.block_bytes;
    }
    return blocks;
  }

  static __m256 Add(const MatMulTile& tile, const Stretch& stretch, std::ptrdiff_t first,
                    __m256 sum) {
    const QuantizedRows& x = tile.quantized;
    for (int i = 0; i < stretch.size; i += 32) {
      const __m256i values =
          _mm256_load_si256(reinterpret_cast<const __m256i*>(stretch.values + i));
      const __m256i activations =
          _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(x.values + first + i));
      // The weight's sign moves to the activation, since one side has to be unsigned.
      const __m256i dot = D::Dot(_mm256_abs_epi8(values), _mm256_sign_epi8(activations, values));
      const float* scales = stretch.scales + i / 16;
      const __m256 weight_scales = _mm256_set_m128(_mm_set1_ps(scales[1]), _mm_set1_ps(scales[0]));
      const __m256 activation_scale = _mm256_set1_ps(x.scales[(first + i) / 32]);
      sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(weight_scales, activation_scale),
                            sum);
    }
    if (!tile.unpacker->has_offsets) return sum;
    // Offsets come in pairs; what they multiply is not there beyond the last.
    for (int i = 0; i < stretch.size / 16; i += 2) {
      const __m128 offsets = LoadTwo(stretch.offsets + i);
      const __m128 activation_sums = LoadTwo(x.sums16 + first / 16 + i);
      sum = _mm256_add_ps(sum, _mm256_zextps128_ps256(_mm_mul_ps(offsets, activation_sums)));
    }
    return sum;
  }

  static __m128 LoadTwo(const float* from) {
    return _mm_castpd_ps(_mm_load_sd(reinterpret_cast<const double*>(from)));
  }
};

}  // namespace doppler
