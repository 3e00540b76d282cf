// A chunk of a group of sixteen rows (row_groups.h) as kernels read it. A type of each file that
// includes this, as block_factors.h says.
#pragma once

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

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
