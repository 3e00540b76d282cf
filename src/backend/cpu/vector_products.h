// Products over weights that are floats, once for every vector type and type of weights.
//
// A weight of f8_e4m3 is multiplied with the scale of its square of the grid once it is converted,
// so that it has the value that the format defines. To convert takes longer than the product: for
// several tokens rows are converted once for all of them. The vectors of a row's columns are added
// up in two sums in turn, since one would have the additions wait for each other when a row comes
// from memory; all ways of computing keep that order, and so give the same bits.
//
// V is as in vector_kernels.h, with
//   kInPanels<T>                whether rows of T are faster converted once for several tokens
//   kPanelRows, kPanelTokens    of a register block that reads these
//   kBlockTokens                of a row as it is
//   kBlockRows                  of so many tokens, where not all types are in panels
//   kF8Factor                   what Load divides F8E4M3 by
#pragma once

#include "backend/cpu/kernels.h"

namespace doppler {

inline constexpr int kFloatSums = 2;

template <class V, class T>
struct FloatProduct {
  using F = typename V::F;
  static constexpr bool kHasGrid = __is_same(T, F8E4M3);
  static constexpr int kBlock = MatMulTile::kGridBlock;
  static constexpr int kBlockVectors = kBlock / V::kLanes;
  static constexpr int kRows = V::kPanelRows;
  static constexpr int kVectors = 4 * kBlockVectors;  // of a panel, which fits the nearest cache
  static constexpr int kColumns = kVectors * V::kLanes;
  static_assert(kBlockVectors % kFloatSums == 0);

  // Some columns of a row.
  struct Weights {
    const T* values;
    const float* grid;  // a scale for each kBlock columns, if there are any

    Weights From(int begin) const {
      return {values + begin, kHasGrid ? grid + begin / kBlock : nullptr};
    }
    F Scale(int column) const {
      if constexpr (!kHasGrid) return V::Zero();
      return V::Set1(grid[column / kBlock] * V::kF8Factor);
    }
    // A vector of up to `count` of them, whose Scale is `scale`.
    F Read(int column, int count, F scale) const {
      const F w = LoadUpTo(values + column, count);
      return kHasGrid ? V::Mul(w, scale) : w;
    }
  };

  static Weights WeightsOf(const MatMulTile& tile, int row) {
    const auto grid_row = static_cast<std::ptrdiff_t>((tile.first_row + row) / kBlock);
    return {
        reinterpret_cast<const T*>(tile.weights + static_cast<std::size_t>(row) * tile.row_bytes),
        kHasGrid ? tile.grid + grid_row * tile.grid_cols : nullptr};
  }

  template <class U>
  static F LoadUpTo(const U* from, int count) {
    return count < V::kLanes ? V::LoadPart(from, count) : V::Load(from);
  }

  static float Total(F even, F odd) { return V::Sum(V::Add(even, odd)); }

  // [sum][row][token]
  template <int R, int N>
  using BlockSums = F[kFloatSums][R][N];

  // A vector of columns, up to `count` of them.
  template <int R, int N>
  static void AddColumns(const MatMulTile& tile, const Weights (&weights)[R], const F (&scales)[R],
                         int token, int column, int count, F (&sums)[R][N]) {
    F x[N];
    for (int n = 0; n < N; ++n) {
      x[n] = LoadUpTo(tile.in + (token + n) * tile.in_stride + column, count);
    }
    for (int r = 0; r < R; ++r) {
      const F w = V::InRegister(weights[r].Read(column, count, scales[r]));
      for (int n = 0; n < N; ++n) sums[r][n] = V::Fma(w, x[n], sums[r][n]);
    }
  }

  // R rows times N tokens.
  template <int R, int N>
  static void Block(const MatMulTile& tile, int row, int token) {
    Weights weights[R];
    for (int r = 0; r < R; ++r) weights[r] = WeightsOf(tile, row + r);
    BlockSums<R, N> sums;
    for (auto& of_rows : sums) {
      for (auto& of_row : of_rows) {
        for (F& sum : of_row) sum = V::Zero();
      }
    }
    F scales[R];
    for (F& scale : scales) scale = V::Zero();
    int begin = 0;
    for (; begin + kBlock <= tile.cols; begin += kBlock) {
      for (int r = 0; r < R; ++r) scales[r] = weights[r].Scale(begin);
#pragma GCC unroll 32
      for (int i = 0; i < kBlockVectors; ++i) {
        AddColumns(tile, weights, scales, token, begin + i * V::kLanes, V::kLanes,
                   sums[i % kFloatSums]);
      }
    }
    for (int r = 0; r < R && begin < tile.cols; ++r) scales[r] = weights[r].Scale(begin);
    while (begin < tile.cols) {
#pragma GCC unroll 2
      for (int i = 0; i < kFloatSums; ++i, begin += V::kLanes) {
        if (begin >= tile.cols) break;
        AddColumns(tile, weights, scales, token, begin, tile.cols - begin, sums[i]);
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) {
        tile.out[(token + n) * tile.out_stride + row + r] = Total(sums[0][r][n], sums[1][r][n]);
      }
    }
  }

  // R rows times all tokens.
  template <int R>
  static void BlockRows(const MatMulTile& tile, int row) {
    int token = 0;
    for (; token + V::kBlockTokens <= tile.tokens; token += V::kBlockTokens) {
      Block<R, V::kBlockTokens>(tile, row, token);
    }
    for (; token < tile.tokens; ++token) Block<R, 1>(tile, row, token);
  }

  // [vector of columns][row]
  using Panel = F[kVectors][kRows];
  // [token][row][sum]
  using Sums = F[MatMulTile::kMaxTokens][kRows][kFloatSums];

  // Rows `row` and on, columns `begin` and on.
  static void Convert(const MatMulTile& tile, int row, int begin, int count, Panel& panel) {
    for (int r = 0; r < kRows; ++r) {
      const Weights weights = WeightsOf(tile, row + r).From(begin);
      for (int c = 0; c < count; c += V::kLanes) {
        // The processor does not see that a row is read on when its turn comes again.
        __builtin_prefetch(weights.values + c + kColumns);
        panel[c / V::kLanes][r] = weights.Read(c, count - c, weights.Scale(c));
      }
    }
  }

  template <int N>
  static void AddProducts(const F (&weights)[kRows], const F (&x)[N], F (&sums)[N][kRows]) {
    for (int r = 0; r < kRows; ++r) {
      const F w = V::InRegister(weights[r]);
      for (int n = 0; n < N; ++n) sums[n][r] = V::Fma(w, x[n], sums[n][r]);
    }
  }

  // Adds to one of the sums of N tokens.
  template <int N>
  static void Multiply(const MatMulTile& tile, const Panel& panel, int token, int begin, int count,
                       int which, Sums& all) {
    const float* in = tile.in + token * tile.in_stride + begin;
    F sums[N][kRows];
    for (int n = 0; n < N; ++n) {
      for (int r = 0; r < kRows; ++r) sums[n][r] = all[token + n][r][which];
    }
    // Only the last vector may be partial: whether one is would be asked for each token otherwise,
    // and the sums would not stay in registers.
    int i = which;
    for (; (i + 1) * V::kLanes <= count; i += kFloatSums) {
      F x[N];
      for (int n = 0; n < N; ++n) x[n] = V::Load(in + n * tile.in_stride + i * V::kLanes);
      AddProducts(panel[i], x, sums);
    }
    if (i * V::kLanes < count) {
      F x[N];
      for (int n = 0; n < N; ++n) {
        x[n] = V::LoadPart(in + n * tile.in_stride + i * V::kLanes, count - i * V::kLanes);
      }
      AddProducts(panel[i], x, sums);
    }
    for (int n = 0; n < N; ++n) {
      for (int r = 0; r < kRows; ++r) all[token + n][r][which] = sums[n][r];
    }
  }

  static void AllTokens(const MatMulTile& tile, const Panel& panel, int begin, int count,
                        Sums& sums) {
    constexpr int kTokens = V::kPanelTokens;
    for (int i = 0; i < kFloatSums; ++i) {
      int token = 0;
      for (; token + kTokens <= tile.tokens; token += kTokens) {
        Multiply<kTokens>(tile, panel, token, begin, count, i, sums);
      }
      for (; token < tile.tokens; ++token) Multiply<1>(tile, panel, token, begin, count, i, sums);
    }
  }

  static void Rows(const MatMulTile& tile, int row) {
    Sums sums;
    for (int t = 0; t < tile.tokens; ++t) {
      for (int r = 0; r < kRows; ++r) {
        for (int i = 0; i < kFloatSums; ++i) sums[t][r][i] = V::Zero();
      }
    }
    Panel panel;
    for (int begin = 0; begin < tile.cols; begin += kColumns) {
      const int count = tile.cols - begin < kColumns ? tile.cols - begin : kColumns;
      Convert(tile, row, begin, count, panel);
      AllTokens(tile, panel, begin, count, sums);
    }
    for (int t = 0; t < tile.tokens; ++t) {
      for (int r = 0; r < kRows; ++r) {
        tile.out[t * tile.out_stride + row + r] = Total(sums[t][r][0], sums[t][r][1]);
      }
    }
  }

  static void Run(const MatMulTile& tile) {
    int row = 0;
    // For fewer tokens weights come from memory, as one stream of rows.
    if (tile.tokens >= 4) {
      if constexpr (V::template kInPanels<T>) {
        for (; row + kRows <= tile.rows; row += kRows) Rows(tile, row);
      } else {
        for (; row + V::kBlockRows <= tile.rows; row += V::kBlockRows) {
          BlockRows<V::kBlockRows>(tile, row);
        }
      }
    }
    for (; row < tile.rows; ++row) BlockRows<1>(tile, row);
  }
};

}  // namespace doppler
