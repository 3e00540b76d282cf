// Sixteen rows and several tokens: a chunk of the rows is unpacked once, into a panel that stays in
// the first-level cache while the tokens pass, a few at a time, so that each weight and each
// activation that is loaded serves several products. Only avx2_products.h includes this;
// avx2_group_sums.h says what a Format has, of which this reads kRun, kReadsResiduals, kSigned,
// kZero, kAddable and kHasOffsets.
//
// The instruction that multiplies bytes wants one side unsigned, and adds in int16. Weights with
// signs would have to give them to the activations of each product, and activations of 16 bits are
// two bytes: both are multiplied as int16 instead.
#pragma once

#include <immintrin.h>

#include "backend/cpu/x86/avx2_group_sums.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

template <class Format>
struct PanelProduct {
  static constexpr int kRuns = kColumnsOfChunk / Format::kRun;
  static constexpr bool kWide = Format::kSigned || Format::kReadsResiduals;
  // Four weights of eight rows, or two of 16 bits.
  static constexpr int kWords = Format::kRun / (kWide ? 2 : 4);
  static constexpr int kAddable = kWide || kHasVnni ? kWords : Format::kAddable;
  // Whether these products are int32, as dots are.
  static constexpr bool kIntoDots = kWide || kHasVnni;
  // Tokens whose sums fit in registers.
  static constexpr int kAtOnce = kAddable < kWords ? 2 : 4;

  struct Run {
    __m256i words[kWords][kHalves];
  };
  struct Panel {
    GroupScales scales;
    Run runs[kRuns];
    int count;  // of runs
  };

  template <int N>
  using Dots = __m256i[N][kHalves];

  // Bytes 4 * i + kFirst and the next one of each word of four, as int16.
  template <int kFirst>
  static __m256i Widen(__m256i word) {
    constexpr int kPair = 0x0180'0080 + 0x0100'0100 * kFirst;
    const __m256i upper_bytes = _mm256_broadcastsi128_si256(
        _mm_setr_epi32(kPair, kPair + 0x0400'0400, kPair + 0x0800'0800, kPair + 0x0c00'0c00));
    return _mm256_srai_epi16(_mm256_shuffle_epi8(word, upper_bytes), 8);
  }

  // Weights 4 * i and on of a run of eight rows.
  static void SetWord(Run& run, int i, int half, __m256i word) {
    if constexpr (kWide) {
      const __m256i weights = _mm256_sub_epi8(word, _mm256_set1_epi8(Format::kZero));
      run.words[2 * i][half] = Widen<0>(weights);
      run.words[2 * i + 1][half] = Widen<2>(weights);
    } else {
      run.words[i][half] = word;
    }
  }

  // Products of the words from `begin` on; tokens[n] is where activations are.
  template <int N, class X>
  [[gnu::always_inline]] static void AddWords(const Run& run, const X* const (&tokens)[N],
                                              int begin, Dots<N>& sums) {
    constexpr int kValues = kWide ? 2 : 4;
#pragma GCC unroll 16
    for (int i = begin; i < begin + kAddable; ++i) {
      const __m256i words[kHalves] = {InRegister(run.words[i][0]), InRegister(run.words[i][1])};
      for (int n = 0; n < N; ++n) {
        const __m256i activations = WordOfAll(tokens[n] + kValues * i);
        for (int half = 0; half < kHalves; ++half) {
          __m256i& sum = sums[n][half];
          if constexpr (kWide) {
            sum = InRegister(AddPairs(sum, words[half], activations));
          } else {
            sum = MoreProducts<Format>(sum, !kIntoDots && i == begin, words[half], activations);
          }
        }
      }
    }
  }

  template <int N, class X>
  [[gnu::always_inline]] static void AddRunOf(const Run& run, const X* x, std::size_t stride,
                                              Dots<N>& dots) {
    const X* tokens[N];
    for (int n = 0; n < N; ++n) {
      tokens[n] = x + static_cast<std::size_t>(n) * stride;
      // Compilers would keep a pointer for each word of each token.
      __asm__("" : "+r"(tokens[n]));
    }
    if constexpr (kIntoDots) {
      AddWords<N>(run, tokens, 0, dots);
    } else {
#pragma GCC unroll 8
      for (int begin = 0; begin < kWords; begin += kAddable) {
        Dots<N> sums;
        AddWords<N>(run, tokens, begin, sums);
        for (int n = 0; n < N; ++n) {
          for (int half = 0; half < kHalves; ++half) {
            dots[n][half] = AddSum<0>(dots[n][half], sums[n][half]);
          }
        }
      }
    }
  }

  template <int N>
  [[gnu::always_inline]] static void AddRun(const QuantizedRows& x, const Panel& panel, int run,
                                            std::size_t first, GroupSums* sums) {
    const auto stride = static_cast<std::size_t>(x.stride);
    const auto first_of = [&](int n) { return first + static_cast<std::size_t>(n) * stride; };
    Dots<N> dots;
    for (int n = 0; n < N; ++n) {
      for (int half = 0; half < kHalves; ++half) {
        dots[n][half] = kWide ? _mm256_setzero_si256() : StartOf<Format>(x, first_of(n));
      }
    }
    if constexpr (kWide) {
      AddRunOf<N>(panel.runs[run], x.whole_values + first, stride, dots);
    } else {
      AddRunOf<N>(panel.runs[run], x.values + first, stride, dots);
    }
    for (int n = 0; n < N; ++n) {
      AddDots<Format>(x, first_of(n), dots[n], panel.scales.scales[run], panel.scales.offsets[run],
                      sums[n][run % kLanesOfSums]);
    }
  }

  // N tokens, of which the first one's chunk is at `first`.
  template <int N>
  [[gnu::noinline]] static void AddChunk(const MatMulTile& tile, const Panel& panel,
                                         std::size_t first, GroupSums* sums) {
    // A copy, which no store can change.
    const QuantizedRows x = tile.quantized;
    for (int run = 0; run < panel.count; ++run, first += Format::kRun) {
      AddRun<N>(x, panel, run, first, sums);
    }
  }

  // N tokens at a time from `token` on, then fewer.
  template <int N = kAtOnce>
  static void AddTokens(const MatMulTile& tile, const Panel& panel, int begin, int token,
                        GroupSums* sums) {
    for (; token + N <= tile.tokens; token += N) {
      AddChunk<N>(tile, panel, FirstOf(tile.quantized, token, begin), sums + token);
    }
    if constexpr (N > 1) {
      if (token < tile.tokens) AddTokens<N - 1>(tile, panel, begin, token, sums);
    }
  }

  // The rows from `row` on: unpack(begin, panel) for each chunk.
  template <class Unpack>
  [[gnu::always_inline]] static void AllTokens(const MatMulTile& tile, int row, Unpack unpack) {
    GroupSums sums[MatMulTile::kMaxTokens];
    __builtin_memset(&sums, 0, static_cast<std::size_t>(tile.tokens) * sizeof(sums[0]));
    Panel panel;
    for (int begin = 0; begin < tile.cols; begin += kColumnsOfChunk) {
      unpack(begin, panel);
      AddTokens(tile, panel, begin, 0, sums);
    }
    for (int t = 0; t < tile.tokens; ++t) StoreSums<Format>(tile, row, t, sums[t]);
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
