// Eight rows of quantised weights at once, which are unpacked for all tokens of the tile. Only
// neon_quant.cc includes this; see there for the order of sums.
#pragma once

#include <arm_neon.h>

#include "backend/cpu/arm/neon_run_product.h"

namespace doppler {
// Functions of one file, as in neon_formats.h.
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// Exchanges rows and columns of 4 x 4 words.
void Transpose(const int8x16_t (&rows)[4], int8x16_t* out) {
  const int32x4_t a = vreinterpretq_s32_s8(rows[0]);
  const int32x4_t b = vreinterpretq_s32_s8(rows[1]);
  const int32x4_t c = vreinterpretq_s32_s8(rows[2]);
  const int32x4_t d = vreinterpretq_s32_s8(rows[3]);
  const int64x2_t even_low = vreinterpretq_s64_s32(vtrn1q_s32(a, b));
  const int64x2_t odd_low = vreinterpretq_s64_s32(vtrn2q_s32(a, b));
  const int64x2_t even_high = vreinterpretq_s64_s32(vtrn1q_s32(c, d));
  const int64x2_t odd_high = vreinterpretq_s64_s32(vtrn2q_s32(c, d));
  out[0] = vreinterpretq_s8_s64(vtrn1q_s64(even_low, even_high));
  out[1] = vreinterpretq_s8_s64(vtrn1q_s64(odd_low, odd_high));
  out[2] = vreinterpretq_s8_s64(vtrn2q_s64(even_low, even_high));
  out[3] = vreinterpretq_s8_s64(vtrn2q_s64(odd_low, odd_high));
}

// The same of floats: out[i] is lane i of each.
void Transpose(const float32x4_t (&rows)[4], float32x4_t* out) {
  int8x16_t words[4];
  for (int i = 0; i < 4; ++i) words[i] = vreinterpretq_s8_f32(rows[i]);
  int8x16_t turned[4];
  Transpose(words, turned);
  for (int i = 0; i < 4; ++i) out[i] = vreinterpretq_f32_s8(turned[i]);
}

template <class Format>
struct PanelProduct : RunProduct<Format> {
  using Runs = RunProduct<Format>;
  using Runs::kFours;
  using Runs::kWords;

  // A chunk of eight rows: words of four weights, and scales, of four rows side by side.
  struct Panel {
    int8x16_t words[kFours][kColumns<Format> / 4];
    float32x4_t scales[kFours][kRuns<Format>];
    float32x4_t offsets[kFours][kRuns<Format>];
  };

  static void UnpackFour(const MatMulTile& tile, const Byte* at, int runs, int four, Panel& panel) {
    const Byte* chunks[4];
    Head<Format::kGroups> heads[4];
    for (int r = 0; r < 4; ++r) {
      chunks[r] = at + static_cast<std::size_t>(r) * tile.row_bytes;
      heads[r] = Format::Load(chunks[r], runs);
    }
    for (int i = 0; i < runs * kVectors<Format>; ++i) {
      int8x16_t values[4];
      for (int r = 0; r < 4; ++r) values[r] = Format::Values(chunks[r], i);
      Transpose(values, panel.words[four] + 4 * i);
    }
    for (int g = 0; g < Format::kGroups; ++g) {
      float32x4_t of_rows[4];
      for (int r = 0; r < 4; ++r) of_rows[r] = heads[r].scales[g];
      Transpose(of_rows, panel.scales[four] + 4 * g);
      if constexpr (Format::kHasOffsets) {
        for (int r = 0; r < 4; ++r) of_rows[r] = heads[r].offsets[g];
        Transpose(of_rows, panel.offsets[four] + 4 * g);
      }
    }
  }

  static void AddRun(const MatMulTile& tile, int begin, int run, const Panel& panel,
                     typename Runs::Sums& sums) {
    typename Runs::Words words;
    typename Runs::Factors factors;
    for (int f = 0; f < kFours; ++f) {
      for (int i = 0; i < kWords; ++i) words[f][i] = panel.words[f][run * kWords + i];
      factors.scales[f] = panel.scales[f][run];
      if constexpr (Format::kHasOffsets) factors.offsets[f] = panel.offsets[f][run];
    }
    Runs::Add(tile, begin + run * Format::kRun, words, factors, sums[run % 4]);
  }

  static void Run(const MatMulTile& tile, int row) {
    typename Runs::Sums sums;
    Runs::Clear(tile.tokens, sums);
    const Byte* at = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    Panel panel;
    for (int begin = 0; begin < tile.cols; begin += kColumns<Format>, at += Format::kChunkBytes) {
      const int runs = RunsAt<Format>(tile, begin);
      for (int f = 0; f < kFours; ++f) {
        UnpackFour(tile, at + static_cast<std::size_t>(4 * f) * tile.row_bytes, runs, f, panel);
      }
      for (int run = 0; run < runs; ++run) AddRun(tile, begin, run, panel, sums);
    }
    Runs::Store(tile, sums, row);
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
