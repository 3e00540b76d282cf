// A chunk of a group of sixteen rows (row_groups.h) as kernels read it. A type of each file that
// includes this, as block_factors.h says.
#pragma once

#include "backend/block_layout.h"
#include "backend/cpu/block_factors.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

constexpr int kRowsOfGroup = 16;
constexpr int kColumnsOfChunk = 256;

struct GroupChunk {
  const Byte* data;
  int blocks;

  // The sixteen rows' units from byte `at` on of a block's part that begins at byte kOffset of it
  // and has kBytes.
  template <int kOffset, int kBytes>
  const Byte* Units(int block, int at) const {
    return data + kRowsOfGroup * (blocks * kOffset + block * kBytes + at);
  }
};

// A run of q6_k, of which quarter of its half (Q6KLayout), and its first units of nibbles and of
// high bits. The next ones are kStride further on.
struct Q6KRun {
  static constexpr int kStride = kRowsOfGroup * Q6KGroupLayout::kTripleBytes;

  Q6KRun(const GroupChunk& chunk, int run) : quarter(run / 2 % 4) {
    using Layout = Q6KGroupLayout;
    const int step = run / 8 * 2 + run % 2;
    const Byte* triple = chunk.data + kRowsOfGroup * (Layout::kSteps + Layout::kStepBytes * step);
    nibbles =
        triple + kRowsOfGroup * (quarter % 2 == 0 ? Layout::kEvenQuarters : Layout::kOddQuarters);
    high_bits = triple + kRowsOfGroup * Layout::kHighBits;
  }

  int quarter;
  const Byte* nibbles;
  const Byte* high_bits;
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
