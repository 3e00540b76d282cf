// Several tokens with matrices in groups of sixteen rows. Only avx2_products.h includes this;
// avx2_group_sums.h says what a Format has.
#pragma once

#include "backend/cpu/x86/avx2_group_sums.h"
#include "backend/cpu/x86/avx2_panel.h"
#include "backend/cpu/x86/fetch_ahead.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

template <class Format>
struct GroupPanel {
  using Shape = GroupShape<Format>;
  using Product = PanelProduct<Format>;
  using Panel = typename Product::Panel;
  // From so many on unpacking a chunk pays.
  static constexpr int kLeastTokens = Product::kWide ? 3 : 2;

  [[gnu::always_inline]] static void UnpackRun(const GroupChunk& chunk, int run, Panel& out) {
#pragma GCC unroll 8
    for (int i = 0; i < Shape::kWords; ++i) {
      for (int half = 0; half < kHalves; ++half) {
        Product::SetWord(out.runs[run], i, half, Format::Word(chunk, run, half, i));
      }
    }
  }

  [[gnu::noinline]] static void Unpack(const GroupChunk& chunk, Panel& out) {
    FetchAhead<kSecondLevel>(chunk.data + Shape::kBytesOfChunk, Shape::kBytesOfChunk);
    Format::Load(chunk, out.scales);
    out.count = chunk.blocks * Shape::kRunsOfBlock;
    if constexpr (Format::kBlocks == 1) {
#pragma GCC unroll 16
      for (int run = 0; run < Shape::kRuns; ++run) UnpackRun(chunk, run, out);
    } else {
      for (int run = 0; run < out.count; ++run) UnpackRun(chunk, run, out);
    }
  }

  // The group of rows from `row` on.
  [[gnu::noinline]] static void AllTokens(const MatMulTile& tile, int row) {
    Product::AllTokens(tile, row, [&](int begin, Panel& panel) {
      Unpack(ChunkAt<Format>(tile, row, begin), panel);
    });
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
