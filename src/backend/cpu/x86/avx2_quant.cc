// Integer dot products with AVX2.
//
// A register holds 32 weights. Products of unsigned weights and signed activations are added in
// pairs as int16, which 127 * 128 * 2 just fits, and the pairs as int32; then
// sum += dot * (weight scale * activation scale), lane by lane.

#include <immintrin.h>

#include "backend/cpu/matmul_tile.h"
#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/avx2_codebooks.h"
#include "backend/cpu/x86/avx2_formats.h"
#include "backend/cpu/x86/avx2_small_formats.h"

namespace doppler {
namespace {

float Sum(__m256 a) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// `a` and seven zeros.
__m256 FirstLane(float a) { return _mm256_zextps128_ps256(_mm_set_ss(a)); }

// Dot products of each four neighbours.
template <bool kSigned>
__m256i Product(const Weights& weights, __m256i activations) {
  // The weight's sign moves to the activation, since one side has to be unsigned.
  const __m256i others = kSigned ? _mm256_sign_epi8(activations, weights.signs) : activations;
  const __m256i pairs = _mm256_maddubs_epi16(weights.sizes, others);
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

template <class Format>
struct SuperBlockMatMul {
  static constexpr int kRows = 2;

  template <int R, int N>
  static void Block(const MatMulTile& tile, int row, int token) {
    const QuantizedRows& x = tile.quantized;
    __m256 sums[R][N];
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) sums[r][n] = _mm256_setzero_ps();
    }
    const Byte* blocks = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    for (int begin = 0; begin < tile.cols; begin += 256, blocks += Format::kBytes) {
      typename Format::Head heads[R];
      for (int r = 0; r < R; ++r) {
        Format::Load(blocks + static_cast<std::size_t>(r) * tile.row_bytes, heads[r]);
      }
      const std::int8_t* values[N];
      const float* value_scales[N];
      for (int n = 0; n < N; ++n) {
        const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token + n) * tile.cols + begin;
        values[n] = x.values + first;
        value_scales[n] = x.scales + first / 32;
      }
#pragma GCC unroll 8
      for (int sub = 0; sub < 8; ++sub) {
        Weights weights[R];
        __m256 scales[R];
        for (int r = 0; r < R; ++r) {
          const Byte* block = blocks + static_cast<std::size_t>(r) * tile.row_bytes;
          weights[r] = Format::Values(block, heads[r], sub);
          scales[r] = Format::Scales(heads[r], sub);
        }
        for (int n = 0; n < N; ++n) {
          const __m256i activations = Load32(values[n] + 32 * sub);
          const __m256 activation_scale = _mm256_set1_ps(value_scales[n][sub]);
          for (int r = 0; r < R; ++r) {
            const __m256i dot = Product<Format::kSigned>(weights[r], activations);
            sums[r][n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot),
                                         _mm256_mul_ps(scales[r], activation_scale), sums[r][n]);
          }
        }
      }
      if constexpr (!Format::kSigned) {
        for (int n = 0; n < N; ++n) {
          const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token + n) * tile.cols + begin;
          for (int r = 0; r < R; ++r) {
            sums[r][n] = Format::AddOffsets(heads[r], x, first, sums[r][n]);
          }
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) {
        tile.out[(token + n) * tile.out_stride + row + r] = Sum(sums[r][n]);
      }
    }
  }
};

template <class Format>
struct BlockMatMul {
  static constexpr int kRows = 2;

  template <int R, int N>
  static void Block(const MatMulTile& tile, int row, int token) {
    const QuantizedRows& x = tile.quantized;
    __m256 sums[R][N];
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) sums[r][n] = _mm256_setzero_ps();
    }
    const Byte* blocks = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    for (int begin = 0; begin < tile.cols; begin += 32, blocks += Format::kBytes) {
      Weights weights[R];
      __m256 scales[R];
      __m256 minimums[R];
      for (int r = 0; r < R; ++r) {
        const Byte* block = blocks + static_cast<std::size_t>(r) * tile.row_bytes;
        const __m256i values = Format::Values(block);
        weights[r] = Format::kHasMinimum ? Unsigned(values) : Signed(values);
        scales[r] = _mm256_set1_ps(Format::Scale(block));
        if constexpr (Format::kHasMinimum) minimums[r] = FirstLane(Format::Minimum(block));
      }
      for (int n = 0; n < N; ++n) {
        const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token + n) * tile.cols + begin;
        const __m256i activations = Load32(x.values + first);
        __m256i residuals = _mm256_setzero_si256();
        __m256 activation_scale = _mm256_set1_ps(x.scales[first / 32]);
        if constexpr (Format::kReadsResiduals) {
          // The products count in 1/256 of a step.
          residuals = Load32(x.residuals + first);
          activation_scale = _mm256_mul_ps(activation_scale, _mm256_set1_ps(1.0f / 256));
        }
        for (int r = 0; r < R; ++r) {
          __m256i dot = Product<!Format::kHasMinimum>(weights[r], activations);
          if constexpr (Format::kReadsResiduals) {
            const __m256i small = Product<true>(weights[r], residuals);
            dot = _mm256_add_epi32(_mm256_slli_epi32(dot, 8), small);
          }
          if constexpr (Format::kHasMinimum) {
            const __m256 sum = FirstLane(x.sums32[first / 32]);
            sums[r][n] = _mm256_fmadd_ps(minimums[r], sum, sums[r][n]);
          }
          sums[r][n] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot),
                                       _mm256_mul_ps(scales[r], activation_scale), sums[r][n]);
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) {
        tile.out[(token + n) * tile.out_stride + row + r] = Sum(sums[r][n]);
      }
    }
  }
};

}  // namespace

namespace avx2 {
void MatMulQ80(const MatMulTile& tile) { RunTile<BlockMatMul<Q80>>(tile); }
void MatMulQ40(const MatMulTile& tile) { RunTile<BlockMatMul<Q40>>(tile); }
void MatMulQ4K(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Q4K>>(tile); }
void MatMulQ5K(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Q5K>>(tile); }
void MatMulQ6K(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Q6K>>(tile); }
void MatMulIq4Nl(const MatMulTile& tile) { RunTile<BlockMatMul<Iq4Nl>>(tile); }
void MatMulMxfp4(const MatMulTile& tile) { RunTile<BlockMatMul<Mxfp4>>(tile); }
void MatMulInt4G32(const MatMulTile& tile) { RunTile<BlockMatMul<Int4G32>>(tile); }
void MatMulQ41(const MatMulTile& tile) { RunTile<BlockMatMul<Q41>>(tile); }
void MatMulQ50(const MatMulTile& tile) { RunTile<BlockMatMul<Q50>>(tile); }
void MatMulQ51(const MatMulTile& tile) { RunTile<BlockMatMul<Q51>>(tile); }
void MatMulQ2K(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Q2K>>(tile); }
void MatMulQ3K(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Q3K>>(tile); }
void MatMulIq4Xs(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Iq4Xs>>(tile); }
void MatMulIq3Xxs(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Iq3Xxs>>(tile); }
void MatMulIq3S(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Iq3S>>(tile); }
void MatMulIq2Xxs(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Iq2Xxs>>(tile); }
void MatMulIq2Xs(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Iq2Xs>>(tile); }
void MatMulIq2S(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Iq2S>>(tile); }
void MatMulIq1S(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Iq1S>>(tile); }
void MatMulIq1M(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Iq1M>>(tile); }
}  // namespace avx2

}  // namespace doppler
