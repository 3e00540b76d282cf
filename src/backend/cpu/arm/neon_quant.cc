// Integer dot products with NEON.
//
// An output is the sum over runs of 16 or 32 values of
//
//   weight scale * activation scale * dot(weights, activations) + offset * sum(activations)
//
// Dots are whole numbers and exact. Four runs have a lane each; a lane adds up its runs from one
// four to the next, and at the end the lanes are added, halves first. All ways of computing follow
// that order, so that they give the same bits:
//
//   RowProduct    one row (neon_row_product.h), for few tokens: one stream of memory.
//   PanelProduct  eight rows, a lane each (neon_panel_product.h); what is unpacked is used for all
//                 tokens of the tile.
//   GroupProduct  sixteen rows that are stored side by side (neon_group_product.h).

#include "backend/cpu/arm/neon_codebooks.h"
#include "backend/cpu/arm/neon_formats.h"
#include "backend/cpu/arm/neon_group_formats.h"
#include "backend/cpu/arm/neon_group_product.h"
#include "backend/cpu/arm/neon_panel_product.h"
#include "backend/cpu/arm/neon_plain_formats.h"
#include "backend/cpu/arm/neon_row_product.h"
#include "backend/cpu/quant_matmul.h"

namespace doppler {
namespace {

// From so many tokens on unpacking eight rows pays.
constexpr int kLeastForPanels = 4;

template <class Format>
void InOrder(const MatMulTile& tile) {
  int row = 0;
  if (tile.tokens >= kLeastForPanels) {
    for (; row + PanelProduct<Format>::kRows <= tile.rows; row += PanelProduct<Format>::kRows) {
      PanelProduct<Format>::Run(tile, row);
    }
  }
  for (; row < tile.rows; ++row) RowProduct<Format>::AllTokens(tile, row);
}

// Of formats that are also stored in groups.
template <class Format, class Grouped>
void Either(const MatMulTile& tile) {
  if (!tile.grouped) return InOrder<Format>(tile);
  for (int row = 0; row < tile.rows; row += kRowsOfGroup) GroupProduct<Grouped>::Run(tile, row);
}

}  // namespace

namespace neon {
constinit const MatMulKernels kProducts = {{
    nullptr,                         // f32
    nullptr,                         // f16
    nullptr,                         // bf16
    Either<Q80, GroupedQ80>,         // q8_0
    Either<Q40, GroupedQ40>,         // q4_0
    Either<Q4K, GroupedQ4K>,         // q4_k
    Either<Q5K, GroupedQ5K>,         // q5_k
    Either<Q6K, GroupedQ6K>,         // q6_k
    InOrder<Q41>,                    // q4_1
    InOrder<Q50>,                    // q5_0
    InOrder<Q51>,                    // q5_1
    InOrder<Q2K>,                    // q2_k
    InOrder<Q3K>,                    // q3_k
    Either<Iq4Nl, GroupedIq4Nl>,     // iq4_nl
    InOrder<Iq4Xs>,                  // iq4_xs
    InOrder<Iq3Xxs>,                 // iq3_xxs
    InOrder<Iq3S>,                   // iq3_s
    InOrder<Iq2Xxs>,                 // iq2_xxs
    InOrder<Iq2Xs>,                  // iq2_xs
    InOrder<Iq2S>,                   // iq2_s
    InOrder<Iq1S>,                   // iq1_s
    InOrder<Iq1M>,                   // iq1_m
    Either<Mxfp4, GroupedMxfp4>,     // mxfp4
    nullptr,                         // f8_e4m3
    Either<Int4G32, GroupedInt4G32>  // int4_g32
}};
}  // namespace neon

}  // namespace doppler
