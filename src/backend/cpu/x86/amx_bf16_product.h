// Products of quantised weights by tiles of bf16, 64 tokens at a time, for prompts. Only the files
// that have tiles include this.
//
// Weights become bf16 with their scales and offsets in them, and so do activations: a product of
// tiles then adds up a row, where one of int8 ends with each run's scale. Either is rounded to 8
// bits of size, which is less than what int8 takes from activations; for weights that read
// residuals the activations have 16 bits, as two tiles. An output is the sum over columns in their
// order.
//
// Activations of sixteen tokens are tiles one after the other, so that those of a chunk stay in the
// first-level cache while some panels of weights pass by. Sums are stored from chunk to chunk.
//
// Tiles is a struct of an unnamed namespace:
//   SetTokens(tokens)        of the products to come, at most 64
//   SetZero(), Load(sums), Store(sums)    the sums [token][row]
//   Add(x, stride, words)    adds to them the products of 32 activations with the rows' words; x of
//                            token t is at x + t / 16 * stride + t % 16 * 32
//   Release()                after the last product
#pragma once

#include <immintrin.h>

#include "backend/cpu/kernels.h"
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

// A tile that was just stored cannot be loaded yet: the weights of some tiles are converted ahead.
template <class Weights>
class TilesAhead {
 public:
  explicit TilesAhead(Weights& weights) : weights_(weights) {
    for (unsigned i = 0; i < kAhead; ++i) weights_.Next(tiles_[i]);
  }
  const HalfTile& Next() {
    weights_.Next(tiles_[(next_ + kAhead) % kPlaces]);
    return tiles_[next_++ % kPlaces];
  }

 private:
  static constexpr unsigned kAhead = 2;
  static constexpr unsigned kPlaces = 4;
  Weights& weights_;
  unsigned next_ = 0;
  HalfTile tiles_[kPlaces];
};

// Rows of some panels times all tokens of a MatMulTile.
template <class Format, class Tiles, class Halves>
struct HalfTileProduct {
  using Weights = HalfTileWeights<Format, Halves>;
  using Sums = float[MatMulTile::kMaxTokens][Weights::kRows];

  void Multiply(const MatMulTile& tile, int row, int panels) {
    Weights weights(tile, row, panels);
    TilesAhead<Weights> ahead(weights);
    for (int chunk = 0; chunk < weights.chunks(); ++chunk) {
      for (int panel = 0; panel < panels; ++panel) {
        if (chunk == 0) {
          tiles.SetZero();
        } else {
          if (weights.HasChanged(panel)) Scale(tile.tokens, weights.ChangeOf(panel), sums[panel]);
          tiles.Load(sums[panel]);
        }
        AddChunk(tile.quantized, chunk, weights.TilesOf(chunk), ahead);
        tiles.Store(sums[panel]);
      }
    }
    for (int panel = 0; panel < panels; ++panel) {
      const __m512 factors = weights.FactorsOfSums(panel, kHalfFactor);
      float* out = tile.out + row + panel * Weights::kRows;
      for (int t = 0; t < tile.tokens; ++t) {
        _mm512_storeu_ps(out + t * tile.out_stride,
                         _mm512_mul_ps(_mm512_load_ps(sums[panel][t]), factors));
      }
    }
  }

  void AddChunk(const QuantizedRows& x, int chunk, int count, TilesAhead<Weights>& ahead) {
    const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(kHalfTileTokens) * x.cols;
    std::ptrdiff_t at = static_cast<std::ptrdiff_t>(kHalfTileTokens) * chunk * kChunk;
    for (int i = 0; i < count; ++i, at += kHalfTileTokens * kHalfTileCols) {
      const HalfTile& words = ahead.Next();
      tiles.Add(x.halves + at, stride, words);
      if constexpr (Format::kReadsResiduals) tiles.Add(x.half_residuals + at, stride, words);
    }
  }

  static void Scale(int tokens, __m512 factors, Sums& of_panel) {
    for (int t = 0; t < tokens; ++t) {
      _mm512_store_ps(of_panel[t], _mm512_mul_ps(_mm512_load_ps(of_panel[t]), factors));
    }
  }

  // A row that is not of a panel, as sixteen that are alike, so that it has the bits of one that
  // is.
  void MultiplyRow(const MatMulTile& tile, int row) {
    float out[MatMulTile::kMaxTokens][Weights::kRows];
    MatMulTile alike = tile;
    alike.weights += static_cast<std::size_t>(row) * tile.row_bytes;
    alike.row_bytes = 0;
    alike.rows = Weights::kRows;
    alike.out = out[0];
    alike.out_stride = Weights::kRows;
    Multiply(alike, 0, 1);
    for (int t = 0; t < tile.tokens; ++t) tile.out[t * tile.out_stride + row] = out[t][0];
  }

  void MultiplyRows(const MatMulTile& tile) {
    int row = 0;
    while (tile.rows - row >= Weights::kRows) {
      const int left = (tile.rows - row) / Weights::kRows;
      const int panels = left < Weights::kMostPanels ? left : Weights::kMostPanels;
      Multiply(tile, row, panels);
      row += panels * Weights::kRows;
    }
    for (; row < tile.rows; ++row) MultiplyRow(tile, row);
  }

  Tiles& tiles;
  alignas(64) Sums sums[Weights::kMostPanels];
};

template <class Format, class Tiles, class Halves>
void MultiplyByHalfTiles(const MatMulTile& tile) {
  Tiles tiles;
  tiles.SetTokens(tile.tokens);
  HalfTileProduct<Format, Tiles, Halves> product{.tiles = tiles, .sums = {}};
  product.MultiplyRows(tile);
  tiles.Release();
}

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
