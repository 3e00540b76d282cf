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
void MatMulQ80(const MatMulTile& tile) { Either<Q80, GroupedQ80>(tile); }
void MatMulQ40(const MatMulTile& tile) { Either<Q40, GroupedQ40>(tile); }
void MatMulQ4K(const MatMulTile& tile) { Either<Q4K, GroupedQ4K>(tile); }
void MatMulQ5K(const MatMulTile& tile) { Either<Q5K, GroupedQ5K>(tile); }
void MatMulQ6K(const MatMulTile& tile) { Either<Q6K, GroupedQ6K>(tile); }
void MatMulIq4Nl(const MatMulTile& tile) { Either<Iq4Nl, GroupedIq4Nl>(tile); }
void MatMulMxfp4(const MatMulTile& tile) { Either<Mxfp4, GroupedMxfp4>(tile); }
void MatMulInt4G32(const MatMulTile& tile) { Either<Int4G32, GroupedInt4G32>(tile); }
void MatMulQ41(const MatMulTile& tile) { InOrder<Q41>(tile); }
void MatMulQ50(const MatMulTile& tile) { InOrder<Q50>(tile); }
void MatMulQ51(const MatMulTile& tile) { InOrder<Q51>(tile); }
void MatMulQ2K(const MatMulTile& tile) { InOrder<Q2K>(tile); }
void MatMulQ3K(const MatMulTile& tile) { InOrder<Q3K>(tile); }
void MatMulIq4Xs(const MatMulTile& tile) { InOrder<Iq4Xs>(tile); }
void MatMulIq3Xxs(const MatMulTile& tile) { InOrder<Iq3Xxs>(tile); }
void MatMulIq3S(const MatMulTile& tile) { InOrder<Iq3S>(tile); }
void MatMulIq2Xxs(const MatMulTile& tile) { InOrder<Iq2Xxs>(tile); }
void MatMulIq2Xs(const MatMulTile& tile) { InOrder<Iq2Xs>(tile); }
void MatMulIq2S(const MatMulTile& tile) { InOrder<Iq2S>(tile); }
void MatMulIq1S(const MatMulTile& tile) { InOrder<Iq1S>(tile); }
void MatMulIq1M(const MatMulTile& tile) { InOrder<Iq1M>(tile); }
}  // namespace neon

}  // namespace doppler
