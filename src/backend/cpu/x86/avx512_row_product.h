// One row of quantised weights at a time, with a register for 64 of them. Only avx512_quant.cc
// includes this; see there for the order of sums.
#pragma once

#include <immintrin.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/avx512_chunks.h"
#include "backend/cpu/x86/avx512_formats.h"
#include "backend/cpu/x86/avx512_shared_exponents.h"
#include "backend/cpu/x86/fetch_ahead.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// The lanes' sum: the upper half is added to the lower, and again.
float AddLanes(__m512 lanes) {
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// Sums of neighbouring lanes of four registers of dot products: element p of the quarter q is the
// sum of quarter q of dots[p].
__m512i AddQuarters(const __m512i (&dots)[4]) {
  const __m512i first = _mm512_add_epi32(_mm512_unpacklo_epi32(dots[0], dots[1]),
                                         _mm512_unpackhi_epi32(dots[0], dots[1]));
  const __m512i second = _mm512_add_epi32(_mm512_unpacklo_epi32(dots[2], dots[3]),
                                          _mm512_unpackhi_epi32(dots[2], dots[3]));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(first, second),
                          _mm512_unpackhi_epi64(first, second));
}

// Sixteen bytes of each of four blocks.
template <int kBlockBytes>
__m512i LoadOfFour(const Byte* first) {
  const __m512i one = _mm512_castsi128_si512(Load16(first));
  const __m512i two = _mm512_inserti32x4(one, Load16(first + kBlockBytes), 1);
  const __m512i three = _mm512_inserti32x4(two, Load16(first + 2 * kBlockBytes), 2);
  return _mm512_inserti32x4(three, Load16(first + 3 * kBlockBytes), 3);
}

template <class Format>
struct RowProduct {
  // What the processor's own prefetcher does not reach by itself.
  static constexpr int kBytesAhead = 1024;

  // Of whole chunks whose nibbles are split, values has the first halves of four runs, their second
  // halves, and the same of the other four.
  struct Row {
    __m512i values[4];
    Head head;          // unless exponents are shared
    __m512i exponents;  // otherwise
  };

  // Of N tokens.
  template <int N>
  struct Sums {
    __m512 lanes[N];
    __m128 shared[N];  // the same in all lanes
  };

  template <bool kWhole>
  static constexpr bool IsSplit() {
    return kWhole && Format::kSplitsNibbles;
  }

  static void LoadSplit(const Byte* chunk, __m512i (&values)[4]) {
    const __m512i low_bits = _mm512_set1_epi8(15);
    for (int half = 0; half < 2; ++half) {
      constexpr int kBytes = Format::kBlockBytes;
      const __m512i bytes = LoadOfFour<kBytes>(chunk + 4 * half * kBytes + Format::kNibblesAt);
      values[2 * half] = Format::FromNibbles(_mm512_and_si512(bytes, low_bits));
      values[2 * half + 1] =
          Format::FromNibbles(_mm512_and_si512(_mm512_srli_epi16(bytes, 4), low_bits));
    }
  }

  // `kWhole`: the chunk has all its runs.
  template <bool kWhole>
  static Row Load(const Byte* chunk, int runs) {
    Row row;
    if constexpr (Format::kSharesExponents) {
      row.exponents = Format::LoadExponents(chunk, kWhole ? kLanesOf<Format> : runs);
    } else {
      row.head = Format::Load(chunk, runs);
    }
    if constexpr (IsSplit<kWhole>()) {
      LoadSplit(chunk, row.values);
      return row;
    }
    for (int pair = 0; pair < 4; ++pair) {
      row.values[pair] =
          kWhole ? Format::Values(chunk, pair) : ValuesUpTo<Format>(chunk, pair, runs);
    }
    return row;
  }

  // 64 activations, zeros beyond the chunk's runs.
  template <bool kWhole>
  static __m512i LoadActivations(const std::int8_t* x, int pair, int runs) {
    if (kWhole) return Load64(x + 64 * pair);
    const int left = runs * Format::kRun - 64 * pair;
    const __mmask64 there =
        left >= 64 ? ~__mmask64{0} : (__mmask64{1} << (left > 0 ? left : 0)) - 1;
    return _mm512_maskz_loadu_epi8(there, x + 64 * pair);
  }

  template <bool kWhole>
  static __m512i Dot(__m512i values, const QuantizedRows& x, std::ptrdiff_t first, int pair,
                     int runs) {
    const __m512i zero = _mm512_setzero_si512();
    const __m512i dot =
        _mm512_dpbusd_epi32(zero, values, LoadActivations<kWhole>(x.values + first, pair, runs));
    if constexpr (!Format::kReadsResiduals) return dot;
    return _mm512_dpbusd_epi32(_mm512_slli_epi32(dot, 8), values,
                               LoadActivations<kWhole>(x.residuals + first, pair, runs));
  }

  // Adds the products of four runs and the activations `x`.
  static __m512i SplitDot(__m512i sum, const __m512i* halves, const std::int8_t* x) {
    const __m512i front = Load64(x);
    const __m512i back = Load64(x + 64);
    sum = _mm512_dpbusd_epi32(sum, halves[0], _mm512_shuffle_i32x4(front, back, 0b10001000));
    return _mm512_dpbusd_epi32(sum, halves[1], _mm512_shuffle_i32x4(front, back, 0b11011101));
  }

  // Dots of a chunk of LoadSplit.
  static __m512i SplitDots(const Row& row, const QuantizedRows& x, std::ptrdiff_t first) {
    __m512i dots[2];
    for (int half = 0; half < 2; ++half) {
      const std::ptrdiff_t at = first + 128 * half;
      const __m512i* halves = row.values + 2 * half;
      dots[half] = SplitDot(_mm512_setzero_si512(), halves, x.values + at);
      if constexpr (Format::kReadsResiduals) {
        dots[half] = SplitDot(_mm512_slli_epi32(dots[half], 8), halves, x.residuals + at);
      }
    }
    const __m512i pairs = _mm512_add_epi32(_mm512_unpacklo_epi32(dots[0], dots[1]),
                                           _mm512_unpackhi_epi32(dots[0], dots[1]));
    const __m512i sums = _mm512_add_epi32(pairs, _mm512_shuffle_epi32(pairs, _MM_PERM_BADC));
    return _mm512_maskz_permutexvar_epi32(
        kEightLanes, _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 0, 0, 0, 0, 0, 0, 0), sums);
  }

  // Dot products of 256 values, a lane for each run, with the zero of the weights where it is
  // stored.
  template <bool kWhole>
  static __m512i Dots(const Row& row, const QuantizedRows& x, std::ptrdiff_t first, int runs) {
    if constexpr (IsSplit<kWhole>()) return SplitDots(row, x, first);
    __m512i dots[4];
    for (int pair = 0; pair < 4; ++pair) {
      dots[pair] = Dot<kWhole>(row.values[pair], x, first, pair, runs);
    }
    const __m512i quarters = AddQuarters(dots);
    if constexpr (Format::kRun == 16) {
      return _mm512_permutexvar_epi32(
          _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), quarters);
    }
    const __m512i halves =
        _mm512_add_epi32(quarters, _mm512_shuffle_i64x2(quarters, quarters, 0b10110001));
    return _mm512_maskz_permutexvar_epi32(
        kEightLanes, _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 0, 0, 0, 0, 0, 0, 0, 0), halves);
  }

  template <bool kWhole>
  static __m512i AllDots(const Row& row, const QuantizedRows& x, std::ptrdiff_t first, int runs) {
    const __m512i dots = Dots<kWhole>(row, x, first, runs);
    if constexpr (Format::kZero == 0) return dots;
    const std::int32_t* whole_sums =
        Format::kRun == 16 ? x.whole_sums16 + first / 16 : x.whole_sums + first / 32;
    const __m512i sums = _mm512_maskz_loadu_epi32(FirstLanes(runs), whole_sums);
    return _mm512_sub_epi32(dots, _mm512_mullo_epi32(sums, _mm512_set1_epi32(Format::kZero)));
  }

  static __m512 ActivationScales(const QuantizedRows& x, std::ptrdiff_t first, int runs) {
    if constexpr (Format::kRun == 32) {
      return _mm512_maskz_loadu_ps(FirstLanes(runs), x.scales + first / 32);
    }
    const __m512 eight = _mm512_zextps256_ps512(_mm256_loadu_ps(x.scales + first / 32));
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
                                 eight);
  }

  static __m512 Offsets(const Row& row, const QuantizedRows& x, std::ptrdiff_t first, int runs,
                        __m512 sum) {
    const __m512 sums = Format::kRun == 16
                            ? _mm512_loadu_ps(x.sums16 + first / 16)
                            : _mm512_maskz_loadu_ps(FirstLanes(runs), x.sums32 + first / 32);
    return _mm512_fmadd_ps(row.head.offsets, sums, sum);
  }

  // The dots of the chunk of N tokens, where runs have scales of their own.
  template <int N>
  static void AddScaled(const MatMulTile& tile, const Row& row, std::ptrdiff_t first, int runs,
                        const __m512i (&dots)[N], __m512 (&sums)[N]) {
    for (int n = 0; n < N; ++n, first += tile.quantized.stride) {
      if constexpr (Format::kHasOffsets)
        sums[n] = Offsets(row, tile.quantized, first, runs, sums[n]);
      const __m512 scales =
          _mm512_mul_ps(row.head.scales, ActivationScales(tile.quantized, first, runs));
      sums[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[n]), scales, sums[n]);
    }
  }

  // In all lanes, of eight bytes in the first ones. The instruction finds the smallest.
  static __m512i LargestOfEight(__m512i bytes) {
    const __m128i words = _mm256_cvtepi32_epi16(_mm512_castsi512_si256(bytes));
    const __m128i smallest = _mm_minpos_epu16(_mm_xor_si128(words, _mm_set1_epi16(-1)));
    return _mm512_broadcastd_epi32(_mm_andnot_si128(smallest, _mm_set1_epi32(0xffff)));
  }

  // In all lanes, of the first eight.
  static __m128i SumOfEight(__m512i lanes) {
    const __m256i eight = _mm512_castsi512_si256(lanes);
    const __m128i four =
        _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0b01001110));
    return _mm_add_epi32(two, _mm_shuffle_epi32(two, 0b10110001));
  }

  template <int N>
  static void AddShared(const Row& row, int runs, const __m512i (&dots)[N], Sums<N>& sums) {
    const SharedBase base(LargestOfEight(row.exponents));
    const __m512i shifts = base.Shifts(row.exponents);
    for (int n = 0; n < N; ++n) {
      const __m128i total = SumOfEight(_mm512_sllv_epi32(dots[n], shifts));
      sums.shared[n] =
          _mm_fmadd_ps(_mm_cvtepi32_ps(total), _mm512_castps512_ps128(base.scales), sums.shared[n]);
    }
    const __mmask16 far = base.Far(row.exponents) & FirstLanes(runs);
    if (far == 0) return;
    for (int n = 0; n < N; ++n) {
      sums.lanes[n] = AddFar(sums.lanes[n], dots[n], row.exponents, far);
    }
  }

  // The chunk that begins at column `begin`, for N tokens.
  template <bool kWhole, int N>
  static void Add(const MatMulTile& tile, const Byte* chunk, int begin, int token, int runs,
                  Sums<N>& sums) {
    const Row row = Load<kWhole>(chunk, runs);
    FetchAhead<kFirstLevel>(chunk + kBytesAhead, Format::kChunkBytes);
    const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token) * tile.quantized.stride + begin;
    __m512i dots[N];
    for (int n = 0; n < N; ++n) {
      dots[n] = AllDots<kWhole>(row, tile.quantized, first + n * tile.quantized.stride, runs);
    }
    if constexpr (Format::kSharesExponents) {
      AddShared(row, runs, dots, sums);
    } else {
      AddScaled(tile, row, first, runs, dots, sums.lanes);
    }
  }

  static float Total(__m512 lanes, __m128 shared) {
    const float sum = AddLanes(lanes);
    return Format::kSharesExponents ? sum + _mm_cvtss_f32(shared) : sum;
  }

  template <int N>
  static void Run(const MatMulTile& tile, int row, int token) {
    Sums<N> sums;
    for (int n = 0; n < N; ++n) {
      sums.lanes[n] = _mm512_setzero_ps();
      sums.shared[n] = _mm_setzero_ps();
    }
    const Byte* chunk = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    int begin = 0;
    for (; begin + kChunk <= tile.cols; begin += kChunk, chunk += Format::kChunkBytes) {
      Add<true, N>(tile, chunk, begin, token, kLanesOf<Format>, sums);
    }
    if (begin < tile.cols) {
      Add<false, N>(tile, chunk, begin, token, RunsAt<Format>(tile, begin), sums);
    }
    for (int n = 0; n < N; ++n) {
      tile.out[(token + n) * tile.out_stride + row] =
          Total(sums.lanes[n], sums.shared[n]) * StepOf<Format>(tile.quantized, token + n);
    }
  }

  static void AllTokens(const MatMulTile& tile, int row) {
    int token = 0;
    for (; token + 4 <= tile.tokens; token += 4) Run<4>(tile, row, token);
    for (; token + 2 <= tile.tokens; token += 2) Run<2>(tile, row, token);
    if (token < tile.tokens) Run<1>(tile, row, token);
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
