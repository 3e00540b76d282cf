// Cuts a MatMulTile into register blocks.
//
// A block of R rows by N tokens reads each weight once for N tokens and each activation once for R
// rows. Every output value is summed in the same order whatever R and N, so that an answer does
// not depend on how a call was cut.
#pragma once

#include "backend/cpu/kernels.h"

namespace doppler {

// Kernel::Block<R, N>(tile, row, token) computes one block.
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
  if (tile.tokens == 1) {
    for (; row + 4 <= tile.rows; row += 4) Kernel::template Block<4, 1>(tile, row, 0);
  }
  for (; row + 2 <= tile.rows; row += 2) RunRows<Kernel, 2>(tile, row);
  if (row < tile.rows) RunRows<Kernel, 1>(tile, row);
}

}  // namespace doppler
