// Integer dot products with AVX2, and with AVX-VNNI beside it. Only avx2_quant.cc and
// avx_vnni_quant.cc include this.
//
// An output is the sum over runs of 16 or 32 values of
//
//   weight scale * activation scale * dot(weights, activations) + offset * sum(activations)
//
// Without VNNI products of unsigned weights and signed activations are added in pairs as int16,
// which 127 * 128 * 2 just fits, and the pairs as int32: dots are whole numbers and exact either
// way. Of the runs of a chunk of 256 values each eight have a lane each, which adds up its runs
// from chunk to chunk; at the end the lanes are added pairwise, halves first. All ways of
// computing follow that order, so that they give the same bits:
//
//   RowProduct    rows in order (avx2_row_product.h), 32 weights of a row in a register, for one
//                 token and a few.
//   GroupProduct  rows in groups (avx2_group_product.h), four weights of eight rows in a register,
//                 for one token.
//   PanelProduct  sixteen rows (avx2_panel.h), unpacked once for several tokens.

#pragma once

#include <immintrin.h>

#include "backend/cpu/matmul_tile.h"
#include "backend/cpu/x86/avx2_codebooks.h"
#include "backend/cpu/x86/avx2_formats.h"
#include "backend/cpu/x86/avx2_group_formats.h"
#include "backend/cpu/x86/avx2_group_panel.h"
#include "backend/cpu/x86/avx2_group_product.h"
#include "backend/cpu/x86/avx2_row_panel.h"
#include "backend/cpu/x86/avx2_row_product.h"
#include "backend/cpu/x86/avx2_small_formats.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

template <class Format>
void InOrder(const MatMulTile& tile) {
  int row = 0;
  if (tile.tokens >= RowPanel<Format>::kLeastTokens) {
    for (; row + kRowsOfGroup <= tile.rows; row += kRowsOfGroup) {
      RowPanel<Format>::AllTokens(tile, row);
    }
  }
  MatMulTile rest = tile;
  rest.weights += static_cast<std::size_t>(row) * tile.row_bytes;
  rest.out += row;
  rest.rows -= row;
  RunTile<RowProduct<Format>>(rest);
}

// Of formats that are also stored in groups.
template <class Format, class Grouped>
void Either(const MatMulTile& tile) {
  if (!tile.grouped) return InOrder<Format>(tile);
  for (int row = 0; row < tile.rows; row += kRowsOfGroup) {
    if (tile.tokens >= GroupPanel<Grouped>::kLeastTokens) {
      GroupPanel<Grouped>::AllTokens(tile, row);
    } else {
      for (int t = 0; t < tile.tokens; ++t) GroupProduct<Grouped>::Run(tile, row, t);
    }
  }
}

constexpr MatMulKernels kProductsByType = {{
    nullptr,                                      // f32
    nullptr,                                      // f16
    nullptr,                                      // bf16
    Either<SmallBlocks<Q80>, GroupedQ80>,         // q8_0
    Either<SmallBlocks<Q40>, GroupedQ40>,         // q4_0
    Either<SuperBlocks<Q4K>, GroupedQ4K>,         // q4_k
    Either<SuperBlocks<Q5K>, GroupedQ5K>,         // q5_k
    Either<SuperBlocks<Q6K>, GroupedQ6K>,         // q6_k
    InOrder<SmallBlocks<Q41>>,                    // q4_1
    InOrder<SmallBlocks<Q50>>,                    // q5_0
    InOrder<SmallBlocks<Q51>>,                    // q5_1
    InOrder<SuperBlocks<Q2K>>,                    // q2_k
    InOrder<SuperBlocks<Q3K>>,                    // q3_k
    Either<SmallBlocks<Iq4Nl>, GroupedIq4Nl>,     // iq4_nl
    InOrder<SuperBlocks<Iq4Xs>>,                  // iq4_xs
    InOrder<SuperBlocks<Iq3Xxs>>,                 // iq3_xxs
    InOrder<SuperBlocks<Iq3S>>,                   // iq3_s
    InOrder<SuperBlocks<Iq2Xxs>>,                 // iq2_xxs
    InOrder<SuperBlocks<Iq2Xs>>,                  // iq2_xs
    InOrder<SuperBlocks<Iq2S>>,                   // iq2_s
    InOrder<SuperBlocks<Iq1S>>,                   // iq1_s
    InOrder<SuperBlocks<Iq1M>>,                   // iq1_m
    Either<SmallBlocks<Mxfp4>, GroupedMxfp4>,     // mxfp4
    nullptr,                                      // f8_e4m3
    Either<SmallBlocks<Int4G32>, GroupedInt4G32>  // int4_g32
}};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
