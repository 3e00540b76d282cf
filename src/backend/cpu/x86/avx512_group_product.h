// Products of a group of sixteen rows with few tokens: weights come from memory one after the
// other, and every lane is a row. Only avx512_quant.cc includes this; see there for the order of
// sums.
#pragma once

#include <immintrin.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/avx512_chunks.h"
#include "backend/cpu/x86/avx512_group_formats.h"
#include "backend/cpu/x86/avx512_shared_exponents.h"
#include "backend/cpu/x86/fetch_ahead.h"

namespace doppler {
namespace {

template <class Format>
struct GroupProduct {
  using Group = Grouped<Format>;
  static constexpr int kLanes = kLanesOf<Format>;
  static constexpr int kWords = Format::kRun / 4;
  // That share what is unpacked, one after the other.
  static constexpr int kMostTokens = 8;
  struct Sums {
    __m512 lanes[kLanes][kMostTokens];
    __m512 shared[kMostTokens];  // where exponents are
  };

  // What `first` and the products of one run with a token add up to. A product waits for the one
  // before it of the same sum, so that there are two sums.
  static __m512i Dot(const __m512i (&words)[kWords], const std::int8_t* x, __m512i first) {
    __m512i sums[2] = {first, _mm512_setzero_si512()};
    for (int i = 0; i < kWords; ++i) {
      int four;
      __builtin_memcpy(&four, x + 4 * i, sizeof(four));
      sums[i % 2] = _mm512_dpbusd_epi32(sums[i % 2], words[i], _mm512_set1_epi32(four));
    }
    return _mm512_add_epi32(sums[0], sums[1]);
  }

  // The same without what is added to the weights to store them.
  static __m512i AllDots(const __m512i (&words)[kWords], const QuantizedRows& x,
                         std::ptrdiff_t first) {
    const __m512i none = _mm512_setzero_si512();
    if constexpr (Format::kZero == 0) return Dot(words, x.values + first, none);
    const std::int32_t sum =
        Format::kRun == 16 ? x.whole_sums16[first / 16] : x.whole_sums[first / 32];
    const __m512i of_zeros = _mm512_set1_epi32(-sum * Format::kZero);
    if constexpr (!Format::kReadsResiduals) return Dot(words, x.values + first, of_zeros);
    return _mm512_add_epi32(_mm512_slli_epi32(Dot(words, x.values + first, none), 8),
                            Dot(words, x.residuals + first, of_zeros));
  }

  // One run of N tokens, which begins at column `begin`.
  template <int N>
  static void AddRun(const MatMulTile& tile, int token, int begin, const __m512i (&words)[kWords],
                     __m512 scales, __m512 offsets, __m512 (&sums)[kMostTokens]) {
    const QuantizedRows& x = tile.quantized;
    for (int n = 0; n < N; ++n) {
      const std::ptrdiff_t first =
          static_cast<std::ptrdiff_t>(token + n) * tile.quantized.stride + begin;
      if constexpr (Format::kHasOffsets) {
        const float of_run = Format::kRun == 16 ? x.sums16[first / 16] : x.sums32[first / 32];
        sums[n] = _mm512_fmadd_ps(offsets, _mm512_set1_ps(of_run), sums[n]);
      }
      const __m512 x_scale = _mm512_set1_ps(x.scales[first / 32]);
      sums[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(AllDots(words, x, first)),
                                _mm512_mul_ps(scales, x_scale), sums[n]);
    }
  }

  template <int N>
  static int Ahead(FetchDistance distance) {
    if (distance == FetchDistance::kZen4 && N >= Group::kFarFrom) return kFar;
    return Group::kAhead[static_cast<int>(distance)];
  }

  // A step's share of what comes after the chunk.
  template <int N>
  [[gnu::always_inline]] static void FetchNext(const MatMulTile& tile, const Byte* chunk,
                                               int step) {
    constexpr int kShare = kRowsOfGroup * Format::kChunkBytes / (kLanes / Group::kLanesAtOnce);
    const Byte* share = chunk + step * kShare;
    FetchAhead<kSecondLevel>(share + Ahead<N>(tile.fetch_distance), kShare);
  }

  template <int N>
  static void AddChunk(const MatMulTile& tile, const Byte* chunk, int token, int begin,
                       Sums& sums) {
    const int runs = RunsAt<Format>(tile, begin);
    __m512 scales[kLanes];
    __m512 offsets[kLanes];
    Group::LoadHeads(chunk, runs, scales, offsets);
    for (int step = 0; step < runs / Group::kLanesAtOnce; ++step) {
      FetchNext<N>(tile, chunk, step);
      __m512i words[Group::kLanesAtOnce][kWords];
      Group::LoadWords(chunk, runs, step, words);
      for (int i = 0; i < Group::kLanesAtOnce; ++i) {
        const int lane = Group::LaneOf(step, i);
        const __m512 of_words =
            Group::kBitsLeft[i] == 0
                ? scales[lane]
                : _mm512_mul_ps(scales[lane], _mm512_set1_ps(1.0f / (1u << Group::kBitsLeft[i])));
        AddRun<N>(tile, token, begin + lane * Format::kRun, words[i], of_words, offsets[lane],
                  sums.lanes[lane]);
      }
    }
  }

  // The dots of a run of N tokens, the first of whose activations is `first`.
  template <int N>
  static void DotsOfRun(const __m512i (&words)[kWords], const QuantizedRows& x,
                        std::ptrdiff_t first, __m512i (&dots)[N]) {
    for (int n = 0; n < N; ++n) dots[n] = AllDots(words, x, first + n * std::ptrdiff_t{x.stride});
  }

  template <int N>
  static void AddSharedChunk(const MatMulTile& tile, const Byte* chunk, int token, int begin,
                             Sums& sums) {
    const int runs = RunsAt<Format>(tile, begin);
    const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token) * tile.quantized.stride + begin;
    const RowExponents exponents(chunk, runs);
    const SharedBase base = exponents.Base();
    __m512i totals[N];
    for (int n = 0; n < N; ++n) totals[n] = _mm512_setzero_si512();
    for (int run = 0; run < runs; ++run) {
      FetchNext<N>(tile, chunk, run);
      __m512i words[1][kWords];
      Group::LoadWords(chunk, runs, run, words);
      __m512i dots[N];
      DotsOfRun<N>(words[0], tile.quantized, first + run * Format::kRun, dots);
      const __m512i shifts = base.Shifts(exponents.Of(run));
      for (int n = 0; n < N; ++n) {
        totals[n] = _mm512_add_epi32(totals[n], _mm512_sllv_epi32(dots[n], shifts));
      }
    }
    for (int n = 0; n < N; ++n) {
      sums.shared[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(totals[n]), base.scales, sums.shared[n]);
    }
    if (exponents.HasFar()) AddFarRuns<N>(tile.quantized, chunk, runs, first, sums);
  }

  template <int N>
  [[gnu::noinline]] static void AddFarRuns(const QuantizedRows& x, const Byte* chunk, int runs,
                                           std::ptrdiff_t first, Sums& sums) {
    const RowExponents exponents(chunk, runs);
    for (int run = 0; run < runs; ++run) {
      const __mmask16 far = exponents.Base().Far(exponents.Of(run));
      if (far == 0) continue;
      __m512i words[1][kWords];
      Group::LoadWords(chunk, runs, run, words);
      __m512i dots[N];
      DotsOfRun<N>(words[0], x, first + run * Format::kRun, dots);
      for (int n = 0; n < N; ++n) {
        sums.lanes[run][n] = AddFar(sums.lanes[run][n], dots[n], exponents.Of(run), far);
      }
    }
  }

  static __m512 Total(const Sums& sums, int n) {
    __m512 lanes[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = sums.lanes[lane][n];
    const __m512 total = AddLanesOfRows(lanes);
    return Format::kSharesExponents ? _mm512_add_ps(total, sums.shared[n]) : total;
  }

  template <int N>
  static void Run(const MatMulTile& tile, int row, int token) {
    Sums sums;
    for (int n = 0; n < N; ++n) {
      for (auto& lane : sums.lanes) lane[n] = _mm512_setzero_ps();
      sums.shared[n] = _mm512_setzero_ps();
    }
    const Byte* chunk = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    for (int begin = 0; begin < tile.cols; begin += kChunk) {
      if constexpr (Format::kSharesExponents) {
        AddSharedChunk<N>(tile, chunk, token, begin, sums);
      } else {
        AddChunk<N>(tile, chunk, token, begin, sums);
      }
      chunk += AtOfGroup(Format::kChunkBytes);
    }
    for (int n = 0; n < N; ++n) {
      const __m512 step = _mm512_set1_ps(StepOf<Format>(tile.quantized, token + n));
      _mm512_storeu_ps(tile.out + (token + n) * tile.out_stride + row,
                       _mm512_mul_ps(Total(sums, n), step));
    }
  }

  // Up to N tokens.
  template <int N = kMostTokens>
  static void RunSome(const MatMulTile& tile, int row, int token, int tokens) {
    if constexpr (N > 1) {
      if (tokens < N) return RunSome<N - 1>(tile, row, token, tokens);
    }
    Run<N>(tile, row, token);
  }

  // The sixteen rows from `row` on, some tokens at a time, about as many each time.
  static void AllTokens(const MatMulTile& tile, int row) {
    const int times = (tile.tokens + kMostTokens - 1) / kMostTokens;
    for (int i = 0; i < times; ++i) {
      const int token = i * tile.tokens / times;
      RunSome(tile, row, token, (i + 1) * tile.tokens / times - token);
    }
  }

  static void AllRows(const MatMulTile& tile) {
    for (int row = 0; row < tile.rows; row += kRowsOfGroup) AllTokens(tile, row);
  }
};

}  // namespace
}  // namespace doppler
