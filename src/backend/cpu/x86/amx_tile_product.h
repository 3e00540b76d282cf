// Products of sixteen rows of quantised weights by tiles, sixteen tokens at a time. Only the files
// that have tiles include this; see avx512_quant.cc for the order of sums, which is the same here.
//
// A panel's words are the second operand of a tile product as they lie: a row of it has four
// weights of each of sixteen rows. The first operand has a token's activations in each row. Dot
// products are whole numbers, so that their order does not matter.
//
// Tiles is a struct of an unnamed namespace, for runs of `words` words:
//   Tiles(words)
//   SetTokens(tokens)      of the products to come, at most 16
//   Multiply<slot>(x, stride, words, dots)
//                          dots[token][row] = dot(x + token * stride, words of the row), signed
//                          bytes both. A slot waits for the last product of the same slot; there
//                          are 0 and 1.
//   Release()              after the last product
#pragma once

#include <immintrin.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/avx512_format_list.h"
#include "backend/cpu/x86/avx512_panel.h"
#include "backend/cpu/x86/avx512_shared_panel.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// From so many tokens on tiles take over. Not timed: a product of tiles costs about the same for
// few tokens as for many.
constexpr int kLeastForTiles = 8;

template <class Format, class Tiles>
struct TileProduct {
  using Of = Panels<Format>;
  using Band = typename Of::Band;
  using Sums = typename Of::Sums;
  static constexpr int kPanels = 1;
  static constexpr int kTokens = 16;
  // Unsigned weights are small enough to pass as signed ones.
  static_assert(Of::kSigned || Format::kHasOffsets);

  // Products of one run.
  struct alignas(64) Dots {
    std::int32_t values[kTokens][Of::kRows];
  };

  // Some tokens and one lane of a band.
  struct Lane {
    const QuantizedRows& x;
    const Band& band;
    int lane;
    int token;
    int tokens;

    const typename Of::Run& Run(int chunk) const { return band.panels->runs[lane][chunk]; }
    std::ptrdiff_t First(int chunk) const {
      return static_cast<std::ptrdiff_t>(token) * x.stride + band.begin + chunk * kChunk +
             lane * Format::kRun;
    }
  };

  static void Prepare(const typename Of::Part&) {}

  template <int kSlot>
  void Multiply(const Lane& at, int chunk, Dots& dots) {
    const __m512i* words = at.Run(chunk).words;
    const std::ptrdiff_t first = at.First(chunk);
    tiles.template Multiply<kSlot>(at.x.values + first, at.x.stride, words, dots.values);
  }

  // N tokens, or as many as there are if N is 0.
  template <int N>
  static void AddRun(const Lane& at, int chunk, const Dots& dots, __m512 (&sums)[kTokens]) {
    const __m512 scales = at.Run(chunk).scales;
    const std::ptrdiff_t first = at.First(chunk);
    const float* x_scales = at.x.scales + first / 32;
    for (int n = 0; n < (N > 0 ? N : at.tokens); ++n) {
      if constexpr (Format::kHasOffsets) {
        const float* x_sums =
            Format::kRun == 16 ? at.x.sums16 + first / 16 : at.x.sums32 + first / 32;
        const __m512 of_run = _mm512_set1_ps(x_sums[n * (at.x.stride / Format::kRun)]);
        sums[n] = _mm512_fmadd_ps(at.Run(chunk).offsets, of_run, sums[n]);
      }
      const __m512 x_scale = _mm512_set1_ps(x_scales[n * (at.x.stride / 32)]);
      sums[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(dots.values[n])),
                                _mm512_mul_ps(scales, x_scale), sums[n]);
    }
  }

  // The products of a chunk are asked for before those of the last one are scaled and added.
  template <int N>
  void AddChunks(const Lane& at, __m512 (&sums)[kTokens]) {
    Dots even;
    Dots odd;
    const int chunks = at.band.ChunksOf(at.lane);
    for (int c = 0; c < chunks; c += 2) {
      Multiply<0>(at, c, even);
      if (c > 0) AddRun<N>(at, c - 1, odd, sums);
      if (c + 1 < chunks) Multiply<1>(at, c + 1, odd);
      AddRun<N>(at, c, even, sums);
    }
    if (chunks > 0 && chunks % 2 == 0) AddRun<N>(at, chunks - 1, odd, sums);
  }

  template <int N>
  void AddTokens(const MatMulTile& tile, const Band& band, int token, Sums* sums) {
    const int tokens = N > 0 ? N : tile.tokens - token;
    tiles.SetTokens(tokens);
    for (int lane = 0; lane < Of::kLanes; ++lane) {
      if (token == 0 && band.count_ahead > 0) Of::Prefetch(tile, band, 0, lane);
      __m512 in_registers[kTokens];
      for (int n = 0; n < tokens; ++n) {
        in_registers[n] = band.begin == 0 ? _mm512_setzero_ps() : (*sums)[lane][token + n];
      }
      AddChunks<N>({tile.quantized, band, lane, token, tokens}, in_registers);
      for (int n = 0; n < tokens; ++n) (*sums)[lane][token + n] = in_registers[n];
    }
  }

  void AddBand(const MatMulTile& tile, const Band& band, Sums* sums) {
    int token = 0;
    for (; token + kTokens <= tile.tokens; token += kTokens) {
      AddTokens<kTokens>(tile, band, token, sums);
    }
    if (token < tile.tokens) AddTokens<0>(tile, band, token, sums);
  }

  Tiles& tiles;
};

// The same of panels whose runs share exponents.
template <class Format, class Tiles>
struct SharedTileProduct {
  using Of = SharedPanels<Format>;
  using Band = typename Of::Band;
  using Sums = typename Of::Sums;
  static constexpr int kPanels = 1;
  static constexpr int kTokens = 16;

  // Of one run, with the two bytes of activations.
  struct alignas(64) Dots {
    std::int32_t values[kTokens][Of::kRows];
    std::int32_t residuals[kTokens][Of::kRows];
  };

  static void Prepare(const typename Of::Panel&, int) {}

  void Multiply(const QuantizedRows& x, const Band& band, int token, int run, Dots& dots) {
    const std::ptrdiff_t first =
        static_cast<std::ptrdiff_t>(token) * x.stride + band.begin + run * Format::kRun;
    const __m512i* words = band.panels->words + run * Of::kWordsOfRun;
    tiles.template Multiply<0>(x.values + first, x.stride, words, dots.values);
    tiles.template Multiply<1>(x.residuals + first, x.stride, words, dots.residuals);
  }

  static void AddRun(const Dots& dots, int tokens, __m512i (&totals)[kTokens]) {
    for (int n = 0; n < tokens; ++n) {
      const __m512i values = _mm512_slli_epi32(_mm512_load_si512(dots.values[n]), 8);
      totals[n] = _mm512_add_epi32(totals[n],
                                   _mm512_add_epi32(values, _mm512_load_si512(dots.residuals[n])));
    }
  }

  // The products of a run are asked for before those of the last one are added.
  void AddTokens(const QuantizedRows& x, const Band& band, int token, int tokens, Sums* sums) {
    tiles.SetTokens(tokens);
    __m512i totals[kTokens];
    for (auto& total : totals) total = _mm512_setzero_si512();
    Dots dots[2];
    Multiply(x, band, token, 0, dots[0]);
    for (int run = 0; run < band.runs; ++run) {
      if (run + 1 < band.runs) Multiply(x, band, token, run + 1, dots[(run + 1) % 2]);
      AddRun(dots[run % 2], tokens, totals);
    }
    for (int n = 0; n < tokens; ++n) {
      __m512& sum = (*sums)[token + n];
      sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(totals[n]), band.panels->scales, sum);
    }
  }

  void AddBand(const MatMulTile& tile, const Band& band, Sums* sums) {
    const int groups = (tile.tokens + kTokens - 1) / kTokens;
    for (int i = 0; i < groups; ++i) {
      const int token = i * kTokens;
      const int left = tile.tokens - token;
      Of::FetchShare(tile, band, i, groups);
      AddTokens(tile.quantized, band, token, left < kTokens ? left : kTokens, sums);
    }
  }

  Tiles& tiles;
};

// What is left to those without tiles has the same bits.
template <class Tiles>
struct TileProducts {
  // Returns the first row that is left over.
  template <class Format>
  static int MultiplyPanels(const MatMulTile& tile, Tiles& tiles) {
    if constexpr (Format::kSharesExponents) {
      SharedTileProduct<Format, Tiles> product{tiles};
      return MultiplyRows<SharedPanels<Format>>(tile, product);
    } else {
      TileProduct<Format, Tiles> product{tiles};
      return MultiplyRows<Panels<Format>>(tile, product);
    }
  }

  template <class Format>
  static void Run(const MatMulTile& tile) {
    const MatMulKernel vnni = avx512::kProducts.of[PlaceOf<Format>(FormatsByType{})];
    if (tile.tokens < kLeastForTiles) return vnni(tile);
    Tiles tiles(Format::kRun / 4);
    const int row = MultiplyPanels<Format>(tile, tiles);
    tiles.Release();
    if (row == tile.rows) return;
    MatMulTile rest = tile;
    rest.weights += static_cast<std::size_t>(row) * tile.row_bytes;
    rest.rows -= row;
    rest.first_row += row;
    rest.out += row;
    vnni(rest);
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
