// Groups of sixteen rows whose blocks lie side by side, so that one read of consecutive bytes
// brings the same part of a block of all sixteen: a row for each lane of a register.
//
// A group takes the bytes of its rows and is cut into chunks of 256 columns; the last one has what
// is left. Within a chunk stand, for each part of a block (scale, minimum, values, ...: see
// GroupParts) and for each block of the chunk, the part's units, and of each unit those of the
// sixteen rows one after the other. docs/format.md describes it with an example.
//
// Parts are in an order in which products read a chunk from its beginning to its end, since some
// processors' prefetchers follow nothing else. In the layout kRows16 that is the order of a block;
// for q6_k it is not, so that its groups have the layout kRows16Steps. Kernels read no others; q6_k
// in kRows16, from before there was the other layout, is put into rows for each product.
#pragma once

#include <cstddef>
#include <span>

#include "backend/dtype.h"
#include "backend/weight_layout.h"

namespace doppler {

inline constexpr int kGroupRows = 16;
inline constexpr int kGroupChunk = 256;  // columns

// `bytes` of a block from `offset` on, of which each `unit` bytes stay together.
struct GroupPart {
  int offset = 0;
  int bytes = 0;
  int unit = 1;
};

// The layout of groups that kernels read.
constexpr WeightLayout GroupLayoutOf(DType dtype) {
  return dtype == DType::kQ6_K ? WeightLayout::kRows16Steps : WeightLayout::kRows16;
}

// The parts of a block, in the order of a chunk; empty for what is not stored so.
std::span<const GroupPart> GroupParts(DType dtype, WeightLayout layout);

// Whether a matrix of that many rows can be stored so.
bool CanGroupRows(DType dtype, std::int64_t rows, WeightLayout layout);
// In the layout that kernels read.
bool CanGroupRows(DType dtype, std::int64_t rows);

// Sixteen rows of `cols` values, row after row, into a group, and the exact inverse.
// REQUIRES: CanGroupRows(dtype, 16, layout), both spans are 16 * RowBytes(dtype, cols).
void GroupRows(DType dtype, WeightLayout layout, int cols, std::span<const std::byte> rows,
               std::span<std::byte> group);
void UngroupRows(DType dtype, WeightLayout layout, int cols, std::span<const std::byte> group,
                 std::span<std::byte> rows);

// The blocks of columns [begin, begin + count) of one row of a group of rows of `cols` values, all
// within one chunk. REQUIRES: both ends are multiples of the block size, `out` is
// RowBytes(dtype, count).
void CopyBlocksOfRow(DType dtype, WeightLayout layout, int cols, std::span<const std::byte> group,
                     int row, int begin, int count, std::span<std::byte> out);

}  // namespace doppler
