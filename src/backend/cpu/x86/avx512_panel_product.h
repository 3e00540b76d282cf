// Products of sixteen rows of quantised weights by AVX-512 VNNI. Only avx512_quant.cc includes
// this; see there for the order of sums.
#pragma once

#include <immintrin.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/avx512_panel.h"

namespace doppler {
namespace {

// The instruction multiplies unsigned with signed bytes. Where weights are signed, the activations
// are the unsigned ones: what these have too much is then a number of the weights alone.
template <class Format>
struct PanelProduct {
  using Of = Panels<Format>;
  using Part = typename Of::Part;
  using Band = typename Of::Band;
  using Sums = typename Of::Sums;
  static constexpr int kLanes = Of::kLanes;
  static constexpr int kWords = Of::kWords;
  static constexpr bool kSigned = Of::kSigned;
  // Tokens whose sums fit into registers beside their dot products.
  static constexpr int kTokens = 8;

  static void Prepare(const Part& part) {
    if constexpr (kSigned) {
      for (int lane = 0; lane < kLanes; ++lane) SetStart(part, lane);
    }
  }

  // The products of weights with the 128 that unsigned activations have too much.
  static void SetStart(const Part& part, int lane) {
    __m512i too_much = _mm512_setzero_si512();
    for (int i = 0; i < kWords; ++i) {
      too_much = _mm512_dpbusd_epi32(too_much, _mm512_set1_epi8(-128), part.Word(lane, i));
    }
    part.panel.offsets[lane][part.index] =
        _mm512_castsi512_ps(_mm512_sub_epi32(_mm512_setzero_si512(), too_much));
  }

  // Adds the products of one run with N tokens, `stride` apart. The tokens take turns, since a
  // product waits for the one before it of the same token.
  template <int N, class X>
  static void Dot(const __m512i (&words)[kWords], const X* x, std::ptrdiff_t stride,
                  __m512i (&dots)[N]) {
    for (int i = 0; i < kWords; ++i) {
      for (int n = 0; n < N; ++n) {
        int word;
        __builtin_memcpy(&word, x + n * stride + 4 * i, sizeof(word));
        const __m512i four = _mm512_set1_epi32(word);
        dots[n] = kSigned ? _mm512_dpbusd_epi32(dots[n], four, words[i])
                          : _mm512_dpbusd_epi32(dots[n], words[i], four);
      }
    }
  }

  // The same with residuals. `start` takes back what activations have too much.
  template <int N>
  static void AllDots(const __m512i (&words)[kWords], __m512i start, const QuantizedRows& x,
                      std::ptrdiff_t first, __m512i (&dots)[N]) {
    for (int n = 0; n < N; ++n) dots[n] = start;
    if constexpr (!kSigned) {
      Dot(words, x.values + first, x.cols, dots);
    } else {
      Dot(words, x.unsigned_values + first, x.cols, dots);
    }
    if constexpr (Format::kReadsResiduals) {
      static_assert(kSigned);
      for (int n = 0; n < N; ++n) dots[n] = _mm512_add_epi32(_mm512_slli_epi32(dots[n], 8), start);
      Dot(words, x.unsigned_residuals + first, x.cols, dots);
    }
  }

  // One run of N tokens, which begins at `first`.
  template <int N>
  static void AddRun(const QuantizedRows& x, std::ptrdiff_t first, const __m512i (&words)[kWords],
                     __m512 scales, __m512 offsets, __m512 (&sums)[N]) {
    __m512i dots[N];
    AllDots(words, kSigned ? _mm512_castps_si512(offsets) : _mm512_setzero_si512(), x, first, dots);
    const float* x_scales = x.scales + first / 32;
    const float* x_sums = Format::kRun == 16 ? x.sums16 + first / 16 : x.sums32 + first / 32;
    for (int n = 0; n < N; ++n) {
      if constexpr (Format::kHasOffsets) {
        const __m512 of_run = _mm512_set1_ps(x_sums[n * (x.cols / Format::kRun)]);
        sums[n] = _mm512_fmadd_ps(offsets, of_run, sums[n]);
      }
      const __m512 x_scale = _mm512_set1_ps(x_scales[n * (x.cols / 32)] * kStep<Format>);
      sums[n] =
          _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[n]), _mm512_mul_ps(scales, x_scale), sums[n]);
    }
  }

  // N tokens from `token` on.
  template <int N>
  static void AddTokens(const MatMulTile& tile, const Band& band, int token, Sums& sums) {
    const QuantizedRows& x = tile.quantized;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (token == 0 && band.ahead != nullptr) Of::Prefetch(tile, band, lane);
      __m512 in_registers[N];
      for (int n = 0; n < N; ++n) {
        in_registers[n] = band.begin == 0 ? _mm512_setzero_ps() : sums[lane][token + n];
      }
      std::ptrdiff_t first =
          static_cast<std::ptrdiff_t>(token) * x.cols + band.begin + lane * Format::kRun;
      for (int c = 0, end = band.ChunksOf(lane); c < end; ++c, first += kChunk) {
        AddRun<N>(x, first, band.panel.words[lane][c], band.panel.scales[lane][c],
                  band.panel.offsets[lane][c], in_registers);
      }
      for (int n = 0; n < N; ++n) sums[lane][token + n] = in_registers[n];
    }
  }

  // Groups of about the same size: with less than four tokens products would wait.
  static void AddBand(const MatMulTile& tile, const Band& band, Sums& sums) {
    const int groups = (tile.tokens + kTokens - 1) / kTokens;
    for (int group = 0; group < groups; ++group) {
      const int token = group * tile.tokens / groups;
      switch ((group + 1) * tile.tokens / groups - token) {
        case 4:
          AddTokens<4>(tile, band, token, sums);
          break;
        case 5:
          AddTokens<5>(tile, band, token, sums);
          break;
        case 6:
          AddTokens<6>(tile, band, token, sums);
          break;
        case 7:
          AddTokens<7>(tile, band, token, sums);
          break;
        default:
          AddTokens<kTokens>(tile, band, token, sums);
      }
    }
  }
};

}  // namespace
}  // namespace doppler
