// Integer dot products with AVX2.
//
// A register holds 32 weights. Products of unsigned weights and signed activations are added in
// pairs as int16, which 127 * 128 * 2 just fits, and the pairs as int32; then
// sum += dot * (weight scale * activation scale), lane by lane.

#include <immintrin.h>

#include "backend/block_layout.h"
#include "backend/cpu/matmul_tile.h"
#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/block_parts.h"
#include "backend/cpu/x86/unpacked_matmul.h"
#include "backend/levels.h"

namespace doppler {
namespace {

float Sum(__m256 a) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

__m256i IntDot(__m256i unsigned_values, __m256i signed_values) {
  const __m256i pairs = _mm256_maddubs_epi16(unsigned_values, signed_values);
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

__m256 Dot(__m256i unsigned_values, __m256i signed_values) {
  return _mm256_cvtepi32_ps(IntDot(unsigned_values, signed_values));
}

// The low or high nibbles of 32 bytes.
__m256i Nibbles32(const Byte* from, bool high) {
  const __m256i bytes = Load32(from);
  return _mm256_and_si256(high ? _mm256_srli_epi16(bytes, 4) : bytes, _mm256_set1_epi8(15));
}

// What a block of 256 values unpacks its scales to.
struct Head {
  float scales[16];
  float offsets[16];  // times the activations' sums
};

void LoadSubScales(const Byte* block, const Byte* packed, Head& head) {
  unsigned word[3];
  __builtin_memcpy(word, packed, sizeof(word));
  const unsigned low_scales = word[0] & 0x3f3f3f3fu;
  const unsigned low_minimums = word[1] & 0x3f3f3f3fu;
  const unsigned high_scales = (word[2] & 0x0f0f0f0fu) | ((word[0] >> 2) & 0x30303030u);
  const unsigned high_minimums = ((word[2] >> 4) & 0x0f0f0f0fu) | ((word[1] >> 2) & 0x30303030u);
  const __m128i scales =
      _mm_setr_epi32(static_cast<int>(low_scales), static_cast<int>(high_scales), 0, 0);
  const __m128i minimums =
      _mm_setr_epi32(static_cast<int>(low_minimums), static_cast<int>(high_minimums), 0, 0);
  _mm256_storeu_ps(head.scales, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(scales)),
                                              _mm256_set1_ps(LoadFp16(block))));
  _mm256_storeu_ps(head.offsets, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(minimums)),
                                               _mm256_set1_ps(-LoadFp16(block + 2))));
}

__m256 AddMinimums(const Head& head, const QuantizedRows& x, std::ptrdiff_t first, __m256 sum) {
  return _mm256_fmadd_ps(_mm256_loadu_ps(head.offsets), _mm256_loadu_ps(x.sums32 + first / 32),
                         sum);
}

struct Q4K {
  static constexpr int kBytes = Q4KLayout::kBytes;

  static void Load(const Byte* block, Head& head) {
    LoadSubScales(block, block + Q4KLayout::kSubScales, head);
  }
  static __m256 Scales(const Head& head, int sub) { return _mm256_set1_ps(head.scales[sub]); }
  static __m256i Values(const Byte* block, int sub) {
    return Nibbles32(block + Q4KLayout::kNibbles + 32 * (sub / 2), sub % 2 != 0);
  }
  static __m256 AddOffsets(const Head& head, const QuantizedRows& x, std::ptrdiff_t first,
                           __m256 sum) {
    return AddMinimums(head, x, first, sum);
  }
};

struct Q5K {
  static constexpr int kBytes = Q5KLayout::kBytes;

  static void Load(const Byte* block, Head& head) {
    LoadSubScales(block, block + Q5KLayout::kSubScales, head);
  }
  static __m256 Scales(const Head& head, int sub) { return _mm256_set1_ps(head.scales[sub]); }
  static __m256i Values(const Byte* block, int sub) {
    const __m256i low = Nibbles32(block + Q5KLayout::kNibbles + 32 * (sub / 2), sub % 2 != 0);
    const __m256i bits = _mm256_srli_epi16(Load32(block + Q5KLayout::kHighBits), sub);
    const __m256i high = _mm256_slli_epi16(_mm256_and_si256(bits, _mm256_set1_epi8(1)), 4);
    return _mm256_or_si256(low, high);
  }
  static __m256 AddOffsets(const Head& head, const QuantizedRows& x, std::ptrdiff_t first,
                           __m256 sum) {
    return AddMinimums(head, x, first, sum);
  }
};

struct Q6K {
  static constexpr int kBytes = Q6KLayout::kBytes;

  static void Load(const Byte* block, Head& head) {
    const __m256 scale = _mm256_set1_ps(LoadFp16(block + Q6KLayout::kScale));
    for (int half = 0; half < 2; ++half) {
      const __m128i bytes = _mm_loadl_epi64(
          reinterpret_cast<const __m128i_u*>(block + Q6KLayout::kSubScales + 8 * half));
      const __m256 scales = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), scale);
      _mm256_storeu_ps(head.scales + 8 * half, scales);
      _mm256_storeu_ps(head.offsets + 8 * half, _mm256_mul_ps(scales, _mm256_set1_ps(-32.0f)));
    }
  }
  // Four lanes for each of the two sub-blocks of 16.
  static __m256 Scales(const Head& head, int sub) {
    return _mm256_set_m128(_mm_set1_ps(head.scales[2 * sub + 1]),
                           _mm_set1_ps(head.scales[2 * sub]));
  }
  static __m256i Values(const Byte* block, int sub) {
    const int half = sub / 4;
    const int quarter = sub % 4;
    const __m256i low =
        Nibbles32(block + Q6KLayout::kNibbles + 64 * half + 32 * (quarter % 2), quarter >= 2);
    const __m256i bits = Load32(block + Q6KLayout::kHighBits + 32 * half);
    const __m256i high = quarter < 2 ? _mm256_slli_epi16(bits, 4 - 2 * quarter)
                                     : _mm256_srli_epi16(bits, 2 * quarter - 4);
    return _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(0x30)));
  }
  static __m256 AddOffsets(const Head& head, const QuantizedRows& x, std::ptrdiff_t first,
                           __m256 sum) {
    const float* sums = x.sums16 + first / 16;
    sum = _mm256_fmadd_ps(_mm256_loadu_ps(head.offsets), _mm256_loadu_ps(sums), sum);
    return _mm256_fmadd_ps(_mm256_loadu_ps(head.offsets + 8), _mm256_loadu_ps(sums + 8), sum);
  }
};

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
      Head heads[R];
      for (int r = 0; r < R; ++r) {
        Format::Load(blocks + static_cast<std::size_t>(r) * tile.row_bytes, heads[r]);
      }
#pragma GCC unroll 8
      for (int sub = 0; sub < 8; ++sub) {
        __m256i values[R];
        __m256 scales[R];
        for (int r = 0; r < R; ++r) {
          values[r] = Format::Values(blocks + static_cast<std::size_t>(r) * tile.row_bytes, sub);
          scales[r] = Format::Scales(heads[r], sub);
        }
        for (int n = 0; n < N; ++n) {
          const std::ptrdiff_t first =
              static_cast<std::ptrdiff_t>(token + n) * tile.cols + begin + 32 * sub;
          const __m256i activations = Load32(x.values + first);
          const __m256 activation_scale = _mm256_set1_ps(x.scales[first / 32]);
          for (int r = 0; r < R; ++r) {
            sums[r][n] = _mm256_fmadd_ps(Dot(values[r], activations),
                                         _mm256_mul_ps(scales[r], activation_scale), sums[r][n]);
          }
        }
      }
      for (int n = 0; n < N; ++n) {
        const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token + n) * tile.cols + begin;
        for (int r = 0; r < R; ++r) {
          sums[r][n] = Format::AddOffsets(heads[r], x, first, sums[r][n]);
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

// Formats of 32 signed values with one scale.
struct PlainBlocks {
  static constexpr bool kReadsResiduals = false;
};

struct Q80 : PlainBlocks {
  static constexpr int kBytes = Q80Layout::kBytes;
  static float Scale(const Byte* block) { return LoadFp16(block + Q80Layout::kScale); }
  static __m256i Values(const Byte* block) { return Load32(block + Q80Layout::kValues); }
};

struct Q40 : PlainBlocks {
  static constexpr int kBytes = Q40Layout::kBytes;
  static float Scale(const Byte* block) { return LoadFp16(block + Q40Layout::kScale); }
  static __m256i Values(const Byte* block) {
    return _mm256_sub_epi8(UnpackNibbles16(block + Q40Layout::kNibbles), _mm256_set1_epi8(8));
  }
};

struct Int4G32 : Q40 {
  static_assert(Int4G32Layout::kBytes == kBytes && Int4G32Layout::kNibbles == Q40Layout::kNibbles);
  static float Scale(const Byte* block) { return LoadBf16(block + Int4G32Layout::kScale); }
};

// What nibbles stand for in a table of 16 levels.
__m256i Levels(const Byte* nibbles, const signed char* levels) {
  const __m256i table = _mm256_broadcastsi128_si256(Load16(levels));
  return _mm256_shuffle_epi8(table, UnpackNibbles16(nibbles));
}

struct Mxfp4 {
  static constexpr bool kReadsResiduals = true;
  static constexpr int kBytes = Mxfp4Layout::kBytes;
  static float Scale(const Byte* block) { return LoadE8M0(block + Mxfp4Layout::kExponent); }
  static __m256i Values(const Byte* block) {
    return Levels(block + Mxfp4Layout::kNibbles, kFp4Levels);
  }
};

struct Iq4Nl : PlainBlocks {
  static constexpr int kBytes = Iq4NlLayout::kBytes;
  static float Scale(const Byte* block) { return LoadFp16(block + Iq4NlLayout::kScale); }
  static __m256i Values(const Byte* block) {
    return Levels(block + Iq4NlLayout::kNibbles, kIq4Levels);
  }
};

struct Avx2Dot {
  static __m256i Dot(__m256i unsigned_values, __m256i signed_values) {
    return IntDot(unsigned_values, signed_values);
  }
  static float Sum(__m256 a) { return doppler::Sum(a); }
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
      __m256i values[R];
      __m256i sizes[R];
      __m256 scales[R];
      for (int r = 0; r < R; ++r) {
        const Byte* block = blocks + static_cast<std::size_t>(r) * tile.row_bytes;
        values[r] = Format::Values(block);
        sizes[r] = _mm256_abs_epi8(values[r]);
        scales[r] = _mm256_set1_ps(Format::Scale(block));
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
          // The weight's sign moves to the activation, since one side has to be unsigned.
          __m256i dot = IntDot(sizes[r], _mm256_sign_epi8(activations, values[r]));
          if constexpr (Format::kReadsResiduals) {
            const __m256i small = IntDot(sizes[r], _mm256_sign_epi8(residuals, values[r]));
            dot = _mm256_add_epi32(_mm256_slli_epi32(dot, 8), small);
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
void MatMulUnpacked(const MatMulTile& tile) { UnpackedMatMul<Avx2Dot>::Run(tile); }
}  // namespace avx2

}  // namespace doppler
