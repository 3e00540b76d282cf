// Products of sixteen rows of quantised weights, or twice as many, by AVX-512 VNNI. Only
// avx512_quant.cc includes this; see there for the order of sums.
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
  // Two panels share each load of activations.
  static constexpr int kPanels = 2;
  // Tokens whose sums fit into registers beside their dot products. With P panels, these are enough
  // products at a time that none waits for the one before it.
  template <int P>
  static constexpr int kTokens = P == 1 ? 8 : 5;

  static void Prepare(const Part& part) {
    if constexpr (kSigned) {
      for (int lane = 0; lane < kLanes; ++lane) {
        auto& run = part.RunOf(lane);
        run.offsets = _mm512_castsi512_ps(TakingBack128<1>(run.words, kWords));
      }
    }
  }

  // The same run of P panels.
  template <int P>
  struct Runs {
    const typename Of::Run* of[P];
  };

  // Keeps the compiler from loading a value again for each use.
  static __m512i InRegister(__m512i value) {
    asm("" : "+v"(value));
    return value;
  }

  // Adds the products of one run with N tokens, `stride` apart. The tokens take turns, since a
  // product waits for the one before it of the same token.
  template <int P, int N, class X>
  static void Dot(const Runs<P>& runs, const X* x, std::ptrdiff_t stride, __m512i (&dots)[P][N]) {
    for (int i = 0; i < kWords; ++i) {
      __m512i weights[P];
      for (int p = 0; p < P; ++p) weights[p] = InRegister(runs.of[p]->words[i]);
      for (int n = 0; n < N; ++n) {
        int word;
        __builtin_memcpy(&word, x + n * stride + 4 * i, sizeof(word));
        const __m512i four = InRegister(_mm512_set1_epi32(word));
        for (int p = 0; p < P; ++p) {
          dots[p][n] = kSigned ? _mm512_dpbusd_epi32(dots[p][n], four, weights[p])
                               : _mm512_dpbusd_epi32(dots[p][n], weights[p], four);
        }
      }
    }
  }

  // What takes back what activations have too much.
  static __m512i Start(const typename Of::Run& run) {
    return kSigned ? _mm512_castps_si512(run.offsets) : _mm512_setzero_si512();
  }

  template <int P, int N>
  static void AllDots(const Runs<P>& runs, const QuantizedRows& x, std::ptrdiff_t first,
                      __m512i (&dots)[P][N]) {
    for (int p = 0; p < P; ++p) {
      for (int n = 0; n < N; ++n) dots[p][n] = Start(*runs.of[p]);
    }
    if constexpr (!kSigned) {
      Dot(runs, x.values + first, x.stride, dots);
    } else {
      Dot(runs, x.unsigned_values + first, x.stride, dots);
    }
  }

  // One run of N tokens, which begins at `first`.
  template <int P, int N>
  static void AddRun(const QuantizedRows& x, std::ptrdiff_t first, const Runs<P>& runs,
                     __m512 (&sums)[P][N]) {
    __m512i dots[P][N];
    AllDots(runs, x, first, dots);
    const float* x_scales = x.scales + first / 32;
    const float* x_sums = Format::kRun == 16 ? x.sums16 + first / 16 : x.sums32 + first / 32;
    for (int n = 0; n < N; ++n) {
      if constexpr (Format::kHasOffsets) {
        const __m512 of_run = _mm512_set1_ps(x_sums[n * (x.stride / Format::kRun)]);
        for (int p = 0; p < P; ++p) {
          sums[p][n] = _mm512_fmadd_ps(runs.of[p]->offsets, of_run, sums[p][n]);
        }
      }
      const __m512 x_scale = _mm512_set1_ps(x_scales[n * (x.stride / 32)]);
      for (int p = 0; p < P; ++p) {
        sums[p][n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[p][n]),
                                     _mm512_mul_ps(runs.of[p]->scales, x_scale), sums[p][n]);
      }
    }
  }

  // A lane of a band and N tokens from `token` on.
  template <int P, int N>
  static void AddLane(const QuantizedRows& x, const Band& band, int lane, int token, Sums* sums) {
    __m512 in_registers[P][N];
    for (int p = 0; p < P; ++p) {
      for (int n = 0; n < N; ++n) {
        in_registers[p][n] = band.begin == 0 ? _mm512_setzero_ps() : sums[p][lane][token + n];
      }
    }
    std::ptrdiff_t first =
        static_cast<std::ptrdiff_t>(token) * x.stride + band.begin + lane * Format::kRun;
    for (int c = 0, end = band.ChunksOf(lane); c < end; ++c, first += kChunk) {
      Runs<P> runs;
      for (int p = 0; p < P; ++p) runs.of[p] = &band.panels[p].runs[lane][c];
      AddRun<P, N>(x, first, runs, in_registers);
    }
    for (int p = 0; p < P; ++p) {
      for (int n = 0; n < N; ++n) sums[p][lane][token + n] = in_registers[p][n];
    }
  }

  // Some tokens, and the panels to fetch during their products.
  struct Group {
    int token;
    int tokens;
    int ahead;
    int ahead_end;
  };

  // N tokens or less, but not less than half of what fits.
  template <int P, int N = kTokens<P>>
  static void AddTokens(const MatMulTile& tile, const Band& band, const Group& group, Sums* sums) {
    if constexpr (N > (kTokens<P> + 1) / 2) {
      if (group.tokens < N) return AddTokens<P, N - 1>(tile, band, group, sums);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int p = group.ahead; p < group.ahead_end; ++p) Of::Prefetch(tile, band, p, lane);
      AddLane<P, N>(tile.quantized, band, lane, group.token, sums);
    }
  }

  // Groups of about the same size: with few tokens products would wait. The panels ahead are spread
  // over them, since memory is slower than one group.
  template <int P>
  static void AddPanels(const MatMulTile& tile, const Band& band, Sums* sums) {
    const int groups = (tile.tokens + kTokens<P> - 1) / kTokens<P>;
    for (int i = 0; i < groups; ++i) {
      const int token = i * tile.tokens / groups;
      const Group group{.token = token,
                        .tokens = (i + 1) * tile.tokens / groups - token,
                        .ahead = (i * band.count_ahead + groups - 1) / groups,
                        .ahead_end = ((i + 1) * band.count_ahead + groups - 1) / groups};
      AddTokens<P>(tile, band, group, sums);
    }
  }

  static void AddBand(const MatMulTile& tile, const Band& band, Sums* sums) {
    if (band.count == kPanels) return AddPanels<kPanels>(tile, band, sums);
    AddPanels<1>(tile, band, sums);
  }
};

}  // namespace
}  // namespace doppler
