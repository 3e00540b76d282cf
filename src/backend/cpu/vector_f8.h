// Products over f8_e4m3, once for every vector type.
//
// A weight is converted and multiplied with the scale of its square of the grid, so that it has the
// value that the format defines. That takes longer than the product: for several tokens rows are
// converted once for all of them. The vectors of a row's columns are added up in two sums in turn,
// since one would have the additions wait for each other when a row comes from memory; both ways of
// computing keep that order, and so give the same bits.
//
// V is as in vector_kernels.h, with
//   kPanelRows, kPanelTokens    of a register block
//   kF8Factor                   what Load divides F8E4M3 by
#pragma once

#include "backend/cpu/kernels.h"
#include "backend/cpu/matmul_tile.h"

namespace doppler {

inline constexpr int kF8Sums = 2;

template <class V>
struct F8MatMul {
  using F = typename V::F;
  static constexpr int kBlock = MatMulTile::kGridBlock;
  static constexpr int kBlockVectors = kBlock / V::kLanes;
  static constexpr int kRows = V::kPanelRows;
  static constexpr int kVectors = 4 * kBlockVectors;  // of a panel, which fits the nearest cache
  static constexpr int kColumns = kVectors * V::kLanes;
  static_assert(kBlockVectors % kF8Sums == 0);

  static const F8E4M3* WeightsOf(const MatMulTile& tile, int row) {
    return reinterpret_cast<const F8E4M3*>(tile.weights +
                                           static_cast<std::size_t>(row) * tile.row_bytes);
  }
  // The scales of a row, one for each kBlock columns.
  static const float* GridOf(const MatMulTile& tile, int row) {
    return tile.grid +
           static_cast<std::ptrdiff_t>((tile.first_row + row) / kBlock) * tile.grid_cols;
  }
  static F Scale(const float* grid, int block) { return V::Set1(grid[block] * V::kF8Factor); }

  template <class T>
  static F LoadUpTo(const T* from, int count) {
    return count < V::kLanes ? V::LoadPart(from, count) : V::Load(from);
  }

  static float Total(const F (&sums)[kF8Sums]) { return V::Sum(V::Add(sums[0], sums[1])); }

  // One row times N tokens.
  template <int R, int N>
  static void Block(const MatMulTile& tile, int row, int token) {
    static_assert(R == 1);
    const F8E4M3* weights = WeightsOf(tile, row);
    const float* grid = GridOf(tile, row);
    const float* in = tile.in + token * tile.in_stride;
    F sums[N][kF8Sums];
    for (int n = 0; n < N; ++n) {
      for (int i = 0; i < kF8Sums; ++i) sums[n][i] = V::Zero();
    }
    int begin = 0;
    for (; begin + kBlock <= tile.cols; begin += kBlock) {
      const F scale = Scale(grid, begin / kBlock);
#pragma GCC unroll 8
      for (int i = 0; i < kBlockVectors; ++i) {
        const int c = begin + i * V::kLanes;
        const F w = V::Mul(V::Load(weights + c), scale);
        for (int n = 0; n < N; ++n) {
          F& sum = sums[n][i % kF8Sums];
          sum = V::Fma(w, V::Load(in + n * tile.in_stride + c), sum);
        }
      }
    }
    for (int c = begin; c < tile.cols; c += V::kLanes) {
      const F w = V::Mul(LoadUpTo(weights + c, tile.cols - c), Scale(grid, begin / kBlock));
      for (int n = 0; n < N; ++n) {
        F& sum = sums[n][c / V::kLanes % kF8Sums];
        sum = V::Fma(w, LoadUpTo(in + n * tile.in_stride + c, tile.cols - c), sum);
      }
    }
    for (int n = 0; n < N; ++n) tile.out[(token + n) * tile.out_stride + row] = Total(sums[n]);
  }

  // [vector of columns][row]
  using Panel = F[kVectors][kRows];
  // [token][row][sum]
  using Sums = F[MatMulTile::kMaxTokens][kRows][kF8Sums];

  // Rows `row` and on, columns `begin` and on.
  static void Convert(const MatMulTile& tile, int row, int begin, int count, Panel& panel) {
    for (int r = 0; r < kRows; ++r) {
      const F8E4M3* weights = WeightsOf(tile, row + r) + begin;
      const float* grid = GridOf(tile, row + r) + begin / kBlock;
      for (int c = 0; c < count; c += V::kLanes) {
        // The processor does not see that a row is read on when its turn comes again.
        __builtin_prefetch(weights + c + kColumns);
        panel[c / V::kLanes][r] = V::Mul(LoadUpTo(weights + c, count - c), Scale(grid, c / kBlock));
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
    for (; (i + 1) * V::kLanes <= count; i += kF8Sums) {
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
    for (int i = 0; i < kF8Sums; ++i) {
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
        for (int i = 0; i < kF8Sums; ++i) sums[t][r][i] = V::Zero();
      }
    }
    Panel panel;
    for (int begin = 0; begin < tile.cols; begin += kColumns) {
      const int count = tile.cols - begin < kColumns ? tile.cols - begin : kColumns;
      Convert(tile, row, begin, count, panel);
      AllTokens(tile, panel, begin, count, sums);
    }
    for (int t = 0; t < tile.tokens; ++t) {
      for (int r = 0; r < kRows; ++r) tile.out[t * tile.out_stride + row + r] = Total(sums[t][r]);
    }
  }

  static void Run(const MatMulTile& tile) {
    int row = 0;
    // Fewer tokens do not pay for storing what was converted.
    if (tile.tokens >= 4) {
      for (; row + kRows <= tile.rows; row += kRows) Rows(tile, row);
    }
    for (; row < tile.rows; ++row) RunRows<F8MatMul, 1>(tile, row);
  }
};

}  // namespace doppler
