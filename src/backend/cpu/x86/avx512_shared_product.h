// Products of panels whose runs share exponents, by AVX-512 VNNI. Only avx512_quant.cc includes
// this; see avx512_shared_exponents.h for the order of sums.
#pragma once

#include <immintrin.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/avx512_shared_panel.h"

namespace doppler {
namespace {

// Activations are the unsigned ones, as in PanelProduct. The panels stay in the first-level cache
// while all tokens pass.
template <class Format>
struct SharedProduct {
  using Of = SharedPanels<Format>;
  using Panel = typename Of::Panel;
  using Band = typename Of::Band;
  using Sums = typename Of::Sums;
  // Two panels share each load of activations.
  static constexpr int kPanels = 2;
  template <int P>
  static constexpr int kTokens = P == 1 ? 8 : 5;

  // Unsigned activations have 2^15 too much, which is 128 of their upper bytes.
  static void Prepare(Panel& panel, int runs) {
    panel.offsets = TakingBack128<4>(panel.words, runs * Of::kWordsOfRun);
  }

  // Adds products of four weights and activations. Not the intrinsic, since GCC copies its sums
  // each time that they go around a loop.
  static void AddDots(__m512i& sum, __m512i activations, __m512i weights) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(activations), "v"(weights));
  }

  // Adds the products with one of the two bytes of activations of N tokens.
  template <int P, int N>
  [[gnu::always_inline]] static void AddBytes(const Band& band, const std::uint8_t* x,
                                              std::ptrdiff_t stride, __m512i (&dots)[P][N]) {
    for (int i = 0; i < band.runs * Of::kWordsOfRun; ++i) {
      __m512i weights[P];
#pragma GCC unroll 2
      for (int p = 0; p < P; ++p) weights[p] = band.panels[p].words[i];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) {
        int word;
        __builtin_memcpy(&word, x + n * stride + 4 * i, sizeof(word));
        const __m512i four = _mm512_set1_epi32(word);
#pragma GCC unroll 2
        for (int p = 0; p < P; ++p) AddDots(dots[p][n], four, weights[p]);
      }
    }
  }

  template <int P, int N>
  static void AddTokensOf(const QuantizedRows& x, const Band& band, int token, Sums* sums) {
    __m512i dots[P][N];
    for (int p = 0; p < P; ++p) {
      for (int n = 0; n < N; ++n) dots[p][n] = band.panels[p].offsets;
    }
    const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token) * x.stride + band.begin;
    AddBytes(band, x.unsigned_values + first, x.stride, dots);
    for (int p = 0; p < P; ++p) {
      for (int n = 0; n < N; ++n) dots[p][n] = _mm512_slli_epi32(dots[p][n], 8);
    }
    AddBytes(band, x.unsigned_residuals + first, x.stride, dots);
    for (int p = 0; p < P; ++p) {
      for (int n = 0; n < N; ++n) {
        __m512& sum = sums[p][token + n];
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[p][n]), band.panels[p].scales, sum);
      }
    }
  }

  // N tokens or less.
  template <int P, int N = kTokens<P>>
  static void AddTokens(const QuantizedRows& x, const Band& band, int token, int tokens,
                        Sums* sums) {
    if constexpr (N > 1) {
      if (tokens < N) return AddTokens<P, N - 1>(x, band, token, tokens, sums);
    }
    AddTokensOf<P, N>(x, band, token, sums);
  }

  // Groups of about the same size: with few tokens products would wait.
  template <int P>
  static void AddPanels(const MatMulTile& tile, const Band& band, Sums* sums) {
    const int groups = (tile.tokens + kTokens<P> - 1) / kTokens<P>;
    for (int i = 0; i < groups; ++i) {
      const int token = i * tile.tokens / groups;
      Of::FetchShare(tile, band, i, groups);
      AddTokens<P>(tile.quantized, band, token, (i + 1) * tile.tokens / groups - token, sums);
    }
  }

  static void AddBand(const MatMulTile& tile, const Band& band, Sums* sums) {
    if (band.count == kPanels) return AddPanels<kPanels>(tile, band, sums);
    AddPanels<1>(tile, band, sums);
  }
};

}  // namespace
}  // namespace doppler
