// Cuts a MatMulTile into register blocks.
//
// A block of R rows by N tokens reads each weight once for N tokens and each activation once for R
// rows. Every output value is summed in the same order whatever R and N, so that an answer does
// not depend on how a call was cut.
#pragma once

#include "backend/cpu/kernels.h"

namespace doppler {

// Kernel::Block<R, N>(tile, row, token) computes one block; Kernel::kRows is the R for four tokens
// and more.
template <class Kernel, int R>
void RunRows(const MatMulTile& tile, int row) {
  int token = 0;
  for (; token + 4 <= tile.tokens; token += 4) Kernel::template Block<R, 4>(tile, row, token);
  for (; token + 2 <= tile.tokens; token += 2) Kernel::template Block<R, 2>(tile, row, token);
  if (token < tile.tokens) Kernel::template Block<R, 1>(tile, row, token);
}

template <class Kernel>
void RunTile(const MatMulTile& tile) {
  int row = 0;
  // For few tokens the weights come from memory, and then rows are taken one by one: the
  // processor's prefetcher follows one stream, but not several that change every few KiB.
  if (tile.tokens >= 4) {
    for (; row + Kernel::kRows <= tile.rows; row += Kernel::kRows) {
      RunRows<Kernel, Kernel::kRows>(tile, row);
    }
  }
  for (; row < tile.rows; ++row) RunRows<Kernel, 1>(tile, row);
}

}  // namespace doppler
