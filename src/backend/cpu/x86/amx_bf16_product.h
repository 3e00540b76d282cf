// Products of quantised weights by tiles of bf16, for prompts. Only the files that have tiles
// include this.
//
// Weights become bf16 with their scales and offsets in them, and so do activations: a product of
// tiles then adds up a row, where one of int8 ends with each run's scale. Either is rounded to 8
// bits of size, which is less than what int8 takes from activations; for weights that read
// residuals the activations have 16 bits, as two tiles. An output is the sum over columns in their
// order.
//
// Two tiles of weights meet up to three of activations, sixteen tokens each: what a product loads
// is in the first-level cache for the next one, and the sums stay in tiles from one column to the
// next. Where there are more tokens, the converted weights of a band of columns wait in the
// second-level cache for the others.
//
// Tiles is a struct of an unnamed namespace:
//   Begin(), Release()         before the first product and after the last
//   SetShape(panels, count)    one or two panels, and one to three tiles of tokens
//   SetZero(), Load(p, t, sums), Store(p, t, sums)    the sums of panel p and tile t of tokens,
//                              [token][row]
//   LoadWeights(words)         32 columns of each panel, which stay as they are
//   Add(x, stride)             adds to the sums the products of 32 activations with them; x of
//                              token t is at x + t / 16 * stride + t % 16 * 32
#pragma once

#include <immintrin.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/avx512_format_list.h"
#include "backend/cpu/x86/half_tile_weights.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

constexpr int kHalfTileTokens = 16;
// Of activations: the weights are 2^-112 and more, and products should not be too small for floats.
constexpr float kHalfFactor = 0x1p96f;

// Rounded to the nearest bf16, as floats.
__m512 RoundToHalves(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
  return _mm512_castsi512_ps(
      _mm512_and_si512(_mm512_add_epi32(bits, up), _mm512_set1_epi32(-0x10000)));
}

// Sixteen halves, those of each four as the pairs 0, 2 and 1, 3.
void StorePairs(__m512 halves, Bf16* to) {
  const __m256i words = _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(halves), 16));
  const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15,  //
                                         0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
  _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(to), _mm256_shuffle_epi8(words, order));
}

// As CpuKernels::to_halves.
void WriteHalves(const float* in, int row, const QuantizedRows& out) {
  std::ptrdiff_t at = HalvesOfRow(row, out.cols);
  for (int c = 0; c < out.cols; c += kHalfTileCols, at += kHalfTileTokens * kHalfTileCols) {
    for (int i = 0; i < kHalfTileCols; i += 16) {
      const __m512 x = _mm512_mul_ps(_mm512_loadu_ps(in + c + i), _mm512_set1_ps(kHalfFactor));
      const __m512 halves = RoundToHalves(x);
      StorePairs(halves, out.halves + at + i);
      if (out.half_residuals == nullptr) continue;
      StorePairs(RoundToHalves(_mm512_sub_ps(x, halves)), out.half_residuals + at + i);
    }
  }
}

// Rows of one or two panels times all tokens of a MatMulTile.
template <class Format, class Tiles, class Halves>
struct HalfTileProduct {
  using Weights = HalfTileWeights<Format, Halves>;
  using TileSums = float[kHalfTileTokens][Weights::kRows];
  static constexpr int kPanels = Weights::kMostPanels;
  // Of tokens. Two leave room for the weights of both panels beside them, which pays where each
  // meets two kinds of activations.
  static constexpr int kTilesAtOnce = Format::kReadsResiduals ? 2 : 3;
  static constexpr int kMostTiles = MatMulTile::kMaxPromptTokens / kHalfTileTokens;
  static constexpr int kTilesOfBand = Weights::kChunksOfBand * kTilesOfChunk;
  // A tile that was just stored cannot be loaded yet: weights are converted some tiles ahead.
  static constexpr int kAhead = 2;

  // Some columns: tiles [begin, end) of all.
  struct Band {
    int begin;
    int end;
  };
  // Some tokens: tiles [first, first + count).
  struct Tokens {
    int first;
    int count;
  };

  HalfTileProduct(const MatMulTile& all, Tiles& at_hand)
      : tile(all), tiles(at_hand), token_tiles((all.tokens - 1) / kHalfTileTokens + 1) {}

  void Multiply(int row, int panels) {
    Weights weights(tile, row, panels);
    const int cols = tile.cols / kHalfTileCols;
    for (int begin = 0; begin < cols; begin += kTilesOfBand) {
      const int end = cols - begin < kTilesOfBand ? cols : begin + kTilesOfBand;
      AddBand(weights, {begin, end});
    }
    for (int panel = 0; panel < panels; ++panel) {
      Store(weights.FactorsOfSums(panel, kHalfFactor), panel, row + panel * Weights::kRows);
    }
  }

  void AddBand(Weights& weights, const Band& band) {
    const int groups = (token_tiles - 1) / kTilesAtOnce + 1;
    for (int group = 0; group < groups; ++group) {
      const int first = group * token_tiles / groups;
      const Tokens some{first, (group + 1) * token_tiles / groups - first};
      tiles.SetShape(weights.panels(), some.count);
      if (band.begin == 0) {
        tiles.SetZero();
      } else {
        ForEachSum(weights, some, [&](int p, int t, TileSums& of) { tiles.Load(p, t, of); });
      }
      if (first == 0) {
        AddAndConvert(weights, band, some);
      } else {
        for (int i = band.begin; i < band.end; ++i) {
          Add(weights, some, i, words[i - band.begin]);
        }
      }
      ForEachSum(weights, some, [&](int p, int t, TileSums& of) { tiles.Store(p, t, of); });
    }
  }

  void AddAndConvert(Weights& weights, const Band& band, const Tokens& some) {
    // Few places, which stay in the first-level cache, if no one reads them later.
    const int mask = token_tiles > kTilesAtOnce ? ~0 : 2 * kAhead - 1;
    for (int i = 0; i < kAhead && band.begin + i < band.end; ++i) weights.Next(words[i]);
    for (int i = band.begin; i < band.end; ++i) {
      const int at = i - band.begin;
      if (i + kAhead < band.end) weights.Next(words[(at + kAhead) & mask]);
      Add(weights, some, i, words[at & mask]);
    }
  }

  void Add(const Weights& weights, const Tokens& some, int i, const HalfTile (&of)[kPanels]) {
    if (i % kTilesOfChunk == 0) ScaleIfChanged(weights, some, i / kTilesOfChunk);
    const std::ptrdiff_t stride = std::ptrdiff_t{kHalfTileTokens} * tile.cols;
    const std::ptrdiff_t at =
        some.first * stride + std::ptrdiff_t{kHalfTileTokens} * kHalfTileCols * i;
    tiles.LoadWeights(of);
    tiles.Add(tile.quantized.halves + at, stride);
    if constexpr (Format::kReadsResiduals) tiles.Add(tile.quantized.half_residuals + at, stride);
  }

  // Of the tokens at hand.
  void ScaleIfChanged(const Weights& weights, const Tokens& some, int chunk) {
    ForEachSum(weights, some, [&](int p, int t, TileSums& of) {
      const __m512* change = chunk == 0 ? nullptr : weights.ChangeAt(chunk, p);
      if (change == nullptr) return;
      tiles.Store(p, t, of);
      for (auto& token : of) {
        _mm512_store_ps(token, _mm512_mul_ps(_mm512_load_ps(token), *change));
      }
      tiles.Load(p, t, of);
    });
  }

  template <class Visit>
  void ForEachSum(const Weights& weights, const Tokens& some, const Visit& visit) {
    for (int p = 0; p < weights.panels(); ++p) {
      for (int t = 0; t < some.count; ++t) visit(p, t, sums[p][some.first + t]);
    }
  }

  void Store(__m512 factors, int panel, int row) const {
    for (int t = 0; t < tile.tokens; ++t) {
      const float* of_token = sums[panel][t / kHalfTileTokens][t % kHalfTileTokens];
      _mm512_storeu_ps(tile.out + t * tile.out_stride + row,
                       _mm512_mul_ps(_mm512_load_ps(of_token), factors));
    }
  }

  void MultiplyRows() {
    int row = 0;
    while (tile.rows - row >= Weights::kRows) {
      const int left = (tile.rows - row) / Weights::kRows;
      const int panels = left < kPanels ? left : kPanels;
      Multiply(row, panels);
      row += panels * Weights::kRows;
    }
    for (; row < tile.rows; ++row) MultiplyRow(tile, row, tiles);
  }

  // A row that is not of a panel, as sixteen that are alike, so that it has the bits of one that
  // is.
  static void MultiplyRow(const MatMulTile& all, int row, Tiles& tiles) {
    float out[MatMulTile::kMaxPromptTokens][Weights::kRows];
    MatMulTile alike = all;
    alike.weights += static_cast<std::size_t>(row) * all.row_bytes;
    alike.row_bytes = 0;
    alike.rows = Weights::kRows;
    alike.out = out[0];
    alike.out_stride = Weights::kRows;
    HalfTileProduct(alike, tiles).Multiply(0, 1);
    for (int t = 0; t < all.tokens; ++t) all.out[t * all.out_stride + row] = out[t][0];
  }

  const MatMulTile& tile;
  Tiles& tiles;
  int token_tiles;
  alignas(64) TileSums sums[kPanels][kMostTiles];
  HalfTile words[kTilesOfBand][kPanels];
};

template <class Tiles, class Halves>
struct HalfTileProducts {
  template <class Format>
  static void Run(const MatMulTile& tile) {
    Tiles tiles;
    tiles.Begin();
    HalfTileProduct<Format, Tiles, Halves>(tile, tiles).MultiplyRows();
    tiles.Release();
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
