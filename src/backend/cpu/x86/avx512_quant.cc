// Integer dot products with AVX-512 VNNI.
//
// A register holds 64 weights, which are two runs of 32 with an activation scale each. One
// instruction multiplies unsigned weights with signed activations and adds fours of products into
// int32 lanes: the first eight lanes belong to the first run, the last eight to the second. Then
// sum += dot * (weight scale * activation scale), lane by lane.

#include <immintrin.h>

#include "backend/block_layout.h"
#include "backend/cpu/matmul_tile.h"
#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/unpacked_matmul.h"
#include "backend/levels.h"

namespace doppler {
namespace {

using Byte = unsigned char;

float LoadFp16(const Byte* from) {
  unsigned short bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  return _cvtsh_ss(bits);
}

float LoadBf16(const Byte* from) {
  unsigned short bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  return __builtin_bit_cast(float, static_cast<unsigned>(bits) << 16);
}

// 2^(exponent - 128).
float LoadE8M0(const Byte* from) {
  const unsigned exponent = *from;
  return __builtin_bit_cast(float, exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23);
}

__m256i Load32(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i_u*>(from)); }
__m512i Load64(const void* from) { return _mm512_loadu_si512(from); }
__m512i LoadTwice(const void* from) { return _mm512_broadcast_i64x4(Load32(from)); }

// `a` in the first eight lanes, `b` in the others.
__m512 Halves(float a, float b) {
  return _mm512_mask_mov_ps(_mm512_set1_ps(a), 0xff00, _mm512_set1_ps(b));
}
__m512i IntHalves(int a, int b) {
  return _mm512_mask_mov_epi32(_mm512_set1_epi32(a), 0xff00, _mm512_set1_epi32(b));
}

// Formats of 256 values in four registers. Head holds what the block's scales unpack to; values
// that do not have their zero at 0 have `offsets`, which multiply the activations' sums.
struct Head {
  __m512 scales;
  __m512 offsets;
};

// Scales in the first eight lanes, minimums in the others: what q4_k and q5_k share.
Head LoadSubScales(const Byte* block, const Byte* packed) {
  unsigned word[3];
  __builtin_memcpy(word, packed, sizeof(word));
  const unsigned low_scales = word[0] & 0x3f3f3f3fu;
  const unsigned low_minimums = word[1] & 0x3f3f3f3fu;
  const unsigned high_scales = (word[2] & 0x0f0f0f0fu) | ((word[0] >> 2) & 0x30303030u);
  const unsigned high_minimums = ((word[2] >> 4) & 0x0f0f0f0fu) | ((word[1] >> 2) & 0x30303030u);
  const __m128i bytes =
      _mm_setr_epi32(static_cast<int>(low_scales), static_cast<int>(high_scales),
                     static_cast<int>(low_minimums), static_cast<int>(high_minimums));
  const __m512 factors = Halves(LoadFp16(block), -LoadFp16(block + 2));
  const __m512 scales = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), factors);
  return {scales, _mm512_zextps256_ps512(_mm512_extractf32x8_ps(scales, 1))};
}

// Sub-blocks of 32: one scale for eight lanes.
struct SubBlocks32 {
  static __m512 ActivationScales(const QuantizedRows& x, std::ptrdiff_t first) {
    return _mm512_zextps256_ps512(_mm256_loadu_ps(x.scales + first / 32));
  }
  static __m512 ActivationSums(const QuantizedRows& x, std::ptrdiff_t first) {
    return _mm512_zextps256_ps512(_mm256_loadu_ps(x.sums32 + first / 32));
  }
  static __m512 Spread(__m512 scales, int pair) {
    return _mm512_permutexvar_ps(IntHalves(2 * pair, 2 * pair + 1), scales);
  }
};

struct Q4K : SubBlocks32 {
  static constexpr int kBytes = Q4KLayout::kBytes;

  static Head Load(const Byte* block) {
    return LoadSubScales(block, block + Q4KLayout::kSubScales);
  }
  static __m512i Values(const Byte* block, int pair) {
    const __m512i run = LoadTwice(block + Q4KLayout::kNibbles + 32 * pair);
    return _mm512_and_si512(_mm512_srlv_epi32(run, IntHalves(0, 4)), _mm512_set1_epi8(15));
  }
};

struct Q5K : SubBlocks32 {
  static constexpr int kBytes = Q5KLayout::kBytes;

  static Head Load(const Byte* block) {
    return LoadSubScales(block, block + Q5KLayout::kSubScales);
  }
  static __m512i Values(const Byte* block, int pair) {
    const __m512i run = LoadTwice(block + Q5KLayout::kNibbles + 32 * pair);
    const __m512i low =
        _mm512_and_si512(_mm512_srlv_epi32(run, IntHalves(0, 4)), _mm512_set1_epi8(15));
    const __m512i high_bits = LoadTwice(block + Q5KLayout::kHighBits);
    const int bit = 0x01010101 << (2 * pair);
    const __mmask64 high = _mm512_test_epi8_mask(
        high_bits, IntHalves(bit, static_cast<int>(static_cast<unsigned>(bit) << 1)));
    return _mm512_mask_add_epi8(low, high, low, _mm512_set1_epi8(16));
  }
};

struct Q6K {
  static constexpr int kBytes = Q6KLayout::kBytes;

  static Head Load(const Byte* block) {
    const __m128i bytes =
        _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(block + Q6KLayout::kSubScales));
    const __m512 scales = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)),
                                        _mm512_set1_ps(LoadFp16(block + Q6KLayout::kScale)));
    return {scales, _mm512_mul_ps(scales, _mm512_set1_ps(-32.0f))};
  }
  static __m512 ActivationScales(const QuantizedRows& x, std::ptrdiff_t first) {
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(twice, SubBlocks32::ActivationScales(x, first));
  }
  static __m512 ActivationSums(const QuantizedRows& x, std::ptrdiff_t first) {
    return _mm512_loadu_ps(x.sums16 + first / 16);
  }
  // Sub-blocks of 16: one scale for four lanes.
  static __m512 Spread(__m512 scales, int pair) {
    const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutexvar_ps(_mm512_add_epi32(lanes, _mm512_set1_epi32(4 * pair)), scales);
  }
  static __m512i Values(const Byte* block, int pair) {
    const int half = pair / 2;
    const __m512i run = Load64(block + Q6KLayout::kNibbles + 64 * half);
    const __m512i high_bits = LoadTwice(block + Q6KLayout::kHighBits + 32 * half);
    const bool upper = pair % 2 != 0;
    const __m512i low =
        _mm512_and_si512(upper ? _mm512_srli_epi32(run, 4) : run, _mm512_set1_epi8(15));
    const __m512i high = upper ? _mm512_srlv_epi32(high_bits, IntHalves(0, 2))
                               : _mm512_sllv_epi32(high_bits, IntHalves(4, 2));
    return _mm512_or_si512(low, _mm512_and_si512(high, _mm512_set1_epi8(0x30)));
  }
};

template <class Format>
struct SuperBlockMatMul {
  static constexpr int kRows = 2;

  // A block's own sum starts afresh, so that the blocks of a row do not wait for each other.
  template <int R, int N>
  static void Block(const MatMulTile& tile, int row, int token) {
    const QuantizedRows& x = tile.quantized;
    __m512 sums[R][N];
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) sums[r][n] = _mm512_setzero_ps();
    }
    const Byte* blocks = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    for (int begin = 0; begin < tile.cols; begin += 256, blocks += Format::kBytes) {
      __m512 scales[R][N];
      __m512 block_sums[R][N];
      for (int r = 0; r < R; ++r) {
        const Head head = Format::Load(blocks + static_cast<std::size_t>(r) * tile.row_bytes);
        for (int n = 0; n < N; ++n) {
          const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token + n) * tile.cols + begin;
          scales[r][n] = _mm512_mul_ps(head.scales, Format::ActivationScales(x, first));
          block_sums[r][n] = _mm512_mul_ps(head.offsets, Format::ActivationSums(x, first));
        }
      }
#pragma GCC unroll 4
      for (int pair = 0; pair < 4; ++pair) {
        __m512i values[R];
        for (int r = 0; r < R; ++r) {
          values[r] = Format::Values(blocks + static_cast<std::size_t>(r) * tile.row_bytes, pair);
        }
        for (int n = 0; n < N; ++n) {
          const __m512i activations = Load64(
              x.values + static_cast<std::ptrdiff_t>(token + n) * tile.cols + begin + 64 * pair);
          for (int r = 0; r < R; ++r) {
            const __m512i dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), values[r], activations);
            block_sums[r][n] = _mm512_fmadd_ps(
                _mm512_cvtepi32_ps(dot), Format::Spread(scales[r][n], pair), block_sums[r][n]);
          }
        }
      }
      for (int r = 0; r < R; ++r) {
        for (int n = 0; n < N; ++n) sums[r][n] = _mm512_add_ps(sums[r][n], block_sums[r][n]);
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) {
        tile.out[(token + n) * tile.out_stride + row + r] = _mm512_reduce_add_ps(sums[r][n]);
      }
    }
  }
};

// Formats of 32 values with one scale. Two blocks fill a register; Odd() is the last block of a
// row with an odd number of them. Weights are stored unsigned with their zero at kZero.
struct PlainBlocks {
  static constexpr bool kReadsResiduals = false;
};

struct Q80 : PlainBlocks {
  static constexpr int kBytes = Q80Layout::kBytes;
  static constexpr char kZero = -128;

  static float Scale(const Byte* block) { return LoadFp16(block + Q80Layout::kScale); }
  static __m512i Values(__m512i bytes) { return _mm512_xor_si512(bytes, _mm512_set1_epi8(kZero)); }
  static __m512i Pair(const Byte* block) {
    const __m256i second = Load32(block + kBytes + Q80Layout::kValues);
    return Values(_mm512_inserti64x4(Odd256(block), second, 1));
  }
  static __m512i Odd(const Byte* block) { return Values(Odd256(block)); }
  static __m512i Odd256(const Byte* block) {
    return _mm512_zextsi256_si512(Load32(block + Q80Layout::kValues));
  }
};

// Nibbles of 16 bytes: the low ones first.
__m256i UnpackNibbles16(const Byte* from) {
  const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from));
  const __m256i both =
      _mm256_inserti128_si256(_mm256_castsi128_si256(low), _mm_srli_epi16(low, 4), 1);
  return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

// Formats of 32 nibbles, which Block::Unpack turns into unsigned weights.
template <class Block, int kBlockBytes>
struct NibbleBlocks : PlainBlocks {
  static constexpr int kBytes = kBlockBytes;

  static __m512i Pair(const Byte* block) {
    return _mm512_inserti64x4(Odd(block), Block::Unpack(block + kBytes), 1);
  }
  static __m512i Odd(const Byte* block) { return _mm512_zextsi256_si512(Block::Unpack(block)); }
};

struct Q40 : NibbleBlocks<Q40, Q40Layout::kBytes> {
  static constexpr char kZero = 8;
  static float Scale(const Byte* block) { return LoadFp16(block + Q40Layout::kScale); }
  static __m256i Unpack(const Byte* block) { return UnpackNibbles16(block + Q40Layout::kNibbles); }
};

struct Int4G32 : NibbleBlocks<Int4G32, Int4G32Layout::kBytes> {
  static constexpr char kZero = 8;
  static float Scale(const Byte* block) { return LoadBf16(block + Int4G32Layout::kScale); }
  static __m256i Unpack(const Byte* block) {
    return UnpackNibbles16(block + Int4G32Layout::kNibbles);
  }
};

// What nibbles stand for in a table of 16 levels, plus `zero`.
__m256i Levels(const Byte* nibbles, const signed char* levels, char zero) {
  const __m128i signed_table = _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(levels));
  const __m128i table = _mm_add_epi8(signed_table, _mm_set1_epi8(zero));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), UnpackNibbles16(nibbles));
}

struct Mxfp4 : NibbleBlocks<Mxfp4, Mxfp4Layout::kBytes> {
  static constexpr bool kReadsResiduals = true;
  static constexpr char kZero = 12;
  static float Scale(const Byte* block) { return LoadE8M0(block + Mxfp4Layout::kExponent); }
  static __m256i Unpack(const Byte* block) {
    return Levels(block + Mxfp4Layout::kNibbles, kFp4Levels, kZero);
  }
};

struct Iq4Nl : NibbleBlocks<Iq4Nl, Iq4NlLayout::kBytes> {
  static constexpr char kZero = 127;
  static float Scale(const Byte* block) { return LoadFp16(block + Iq4NlLayout::kScale); }
  static __m256i Unpack(const Byte* block) {
    return Levels(block + Iq4NlLayout::kNibbles, kIq4Levels, kZero);
  }
};

struct VnniDot {
  static __m256i Dot(__m256i unsigned_values, __m256i signed_values) {
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), unsigned_values, signed_values);
  }
  static float Sum(__m256 a) { return _mm512_reduce_add_ps(_mm512_zextps256_ps512(a)); }
};

template <class Format>
struct BlockMatMul {
  static constexpr int kRows = 2;

  template <int N>
  struct Activations {
    __m512i values[N];
    __m512i residuals[N];
    __m512 scales[N];
  };

  // What a dot product begins with, so that the zero of the weights is taken off in integers, once
  // for all rows: dot(w - zero, x) = dot(w, x) - dot(zero, x).
  static __m512i LessZero(__m512i activations) {
    const __m512i zero = _mm512_setzero_si512();
    return _mm512_sub_epi32(
        zero, _mm512_dpbusd_epi32(zero, _mm512_set1_epi8(Format::kZero), activations));
  }

  // Adds one register's products to `sums`.
  template <int R, int N>
  static void Step(const __m512i (&values)[R], const __m512 (&scales)[R],
                   const Activations<N>& activations, __m512 (&sums)[R][N]) {
    for (int n = 0; n < N; ++n) {
      const __m512i start = LessZero(activations.values[n]);
      for (int r = 0; r < R; ++r) {
        __m512i dot = _mm512_dpbusd_epi32(start, values[r], activations.values[n]);
        if constexpr (Format::kReadsResiduals) {
          const __m512i small = _mm512_dpbusd_epi32(LessZero(activations.residuals[n]), values[r],
                                                    activations.residuals[n]);
          dot = _mm512_add_epi32(_mm512_slli_epi32(dot, 8), small);
        }
        sums[r][n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot),
                                     _mm512_mul_ps(scales[r], activations.scales[n]), sums[r][n]);
      }
    }
  }

  // With residuals the products count in 1/256 of a step.
  static __m512 StepScale(__m512 scale) {
    if constexpr (!Format::kReadsResiduals) return scale;
    return _mm512_mul_ps(scale, _mm512_set1_ps(1.0f / 256));
  }

  // 64 values, or the last 32 of a row.
  template <int N>
  static void LoadActivations(const QuantizedRows& x, std::ptrdiff_t first, int n, bool odd,
                              Activations<N>& out) {
    const auto load = [odd, first](const std::int8_t* from) {
      return odd ? _mm512_zextsi256_si512(Load32(from + first)) : Load64(from + first);
    };
    const float scale = x.scales[first / 32];
    out.values[n] = load(x.values);
    if constexpr (Format::kReadsResiduals) out.residuals[n] = load(x.residuals);
    out.scales[n] =
        StepScale(odd ? _mm512_set1_ps(scale) : Halves(scale, x.scales[first / 32 + 1]));
  }

  template <int R, int N>
  static void Block(const MatMulTile& tile, int row, int token) {
    const QuantizedRows& x = tile.quantized;
    __m512 sums[R][N];
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) sums[r][n] = _mm512_setzero_ps();
    }
    const Byte* blocks = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    __m512i values[R];
    __m512 scales[R];
    Activations<N> activations;
    int begin = 0;
    for (; begin + 64 <= tile.cols; begin += 64, blocks += 2 * Format::kBytes) {
      for (int r = 0; r < R; ++r) {
        const Byte* block = blocks + static_cast<std::size_t>(r) * tile.row_bytes;
        values[r] = Format::Pair(block);
        scales[r] = Halves(Format::Scale(block), Format::Scale(block + Format::kBytes));
      }
      for (int n = 0; n < N; ++n) {
        const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token + n) * tile.cols + begin;
        LoadActivations(x, first, n, false, activations);
      }
      Step<R, N>(values, scales, activations, sums);
    }
    if (begin < tile.cols) {
      for (int r = 0; r < R; ++r) {
        const Byte* block = blocks + static_cast<std::size_t>(r) * tile.row_bytes;
        values[r] = Format::Odd(block);
        scales[r] = _mm512_set1_ps(Format::Scale(block));
      }
      for (int n = 0; n < N; ++n) {
        const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token + n) * tile.cols + begin;
        LoadActivations(x, first, n, true, activations);
      }
      Step<R, N>(values, scales, activations, sums);
    }
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) {
        tile.out[(token + n) * tile.out_stride + row + r] = _mm512_reduce_add_ps(sums[r][n]);
      }
    }
  }
};

}  // namespace

namespace avx512 {
void MatMulQ80(const MatMulTile& tile) { RunTile<BlockMatMul<Q80>>(tile); }
void MatMulQ40(const MatMulTile& tile) { RunTile<BlockMatMul<Q40>>(tile); }
void MatMulQ4K(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Q4K>>(tile); }
void MatMulQ5K(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Q5K>>(tile); }
void MatMulQ6K(const MatMulTile& tile) { RunTile<SuperBlockMatMul<Q6K>>(tile); }
void MatMulIq4Nl(const MatMulTile& tile) { RunTile<BlockMatMul<Iq4Nl>>(tile); }
void MatMulMxfp4(const MatMulTile& tile) { RunTile<BlockMatMul<Mxfp4>>(tile); }
void MatMulInt4G32(const MatMulTile& tile) { RunTile<BlockMatMul<Int4G32>>(tile); }
void MatMulUnpacked(const MatMulTile& tile) { UnpackedMatMul<VnniDot>::Run(tile); }
}  // namespace avx512

}  // namespace doppler
