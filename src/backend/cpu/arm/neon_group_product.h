// Sixteen rows at a time from matrices in groups (row_groups.h), eight and eight: words of four
// weights of each of four rows lie side by side and are unpacked once for all tokens of the tile.
// Only neon_quant.cc includes this; see there for the order of sums.
//
// A Format has, besides what the one for rows has (neon_formats.h),
//   kBytes, kBlocks    of a block, and blocks in a chunk of 256 values
//   LoadGroup(chunk, scales)              what is unpacked once for a chunk
//   GroupWords(chunk, run, four, words)   the weights of a run of the rows 4 * four and on
#pragma once

#include <arm_neon.h>

#include "backend/cpu/arm/neon_run_product.h"
#include "backend/cpu/group_chunk.h"

namespace doppler {
// Functions of one file, as in neon_formats.h.
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// Of the runs of a chunk, for each four rows.
struct GroupScales {
  float32x4_t scales[16][4];
  float32x4_t offsets[16][4];
};

template <class Format>
struct GroupProduct {
  using Runs = RunProduct<Format>;
  static constexpr int kFours = Runs::kFours;
  static constexpr int kHalves = kRowsOfGroup / Runs::kRows;
  static constexpr int kColumnsOfBlock = kColumnsOfChunk / Format::kBlocks;

  static void AddRun(const MatMulTile& tile, const GroupChunk& chunk, const GroupScales& scales,
                     int begin, int run, typename Runs::Sums (&sums)[kHalves]) {
    for (int half = 0; half < kHalves; ++half) {
      typename Runs::Words words;
      typename Runs::Factors factors;
      for (int f = 0; f < kFours; ++f) {
        const int four = kFours * half + f;
        Format::GroupWords(chunk, run, four, words[f]);
        factors.scales[f] = scales.scales[run][four];
        if constexpr (Format::kHasOffsets) factors.offsets[f] = scales.offsets[run][four];
      }
      Runs::Add(tile, begin + run * Format::kRun, words, factors, sums[half][run % 4]);
    }
  }

  // The group of rows from `row` on.
  static void Run(const MatMulTile& tile, int row) {
    typename Runs::Sums sums[kHalves];
    for (int half = 0; half < kHalves; ++half) Runs::Clear(tile.tokens, sums[half]);
    const Byte* at = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    for (int begin = 0; begin < tile.cols; begin += kColumnsOfChunk) {
      const int left = tile.cols - begin;
      const GroupChunk chunk{at,
                             (left < kColumnsOfChunk ? left : kColumnsOfChunk) / kColumnsOfBlock};
      GroupScales scales;
      Format::LoadGroup(chunk, scales);
      const int runs = chunk.blocks * kColumnsOfBlock / Format::kRun;
      for (int run = 0; run < runs; ++run) AddRun(tile, chunk, scales, begin, run, sums);
      at += static_cast<std::size_t>(kRowsOfGroup * chunk.blocks * Format::kBytes);
    }
    for (int half = 0; half < kHalves; ++half) {
      Runs::Store(tile, sums[half], row + Runs::kRows * half);
    }
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
