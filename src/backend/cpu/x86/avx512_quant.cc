// Integer dot products with AVX-512 VNNI.
//
// An output is the sum over runs of 16 or 32 values of
//
//   weight scale * activation scale * dot(weights, activations) + offset * sum(activations)
//
// Dots are whole numbers and exact. The runs of a chunk of 256 values have a lane each; a lane adds
// up its runs from chunk to chunk, and at the end the lanes are added pairwise, halves first. All
// ways of computing follow that order, so that they give the same bits:
//
// - RowProduct: one row (avx512_row_product.h), for few tokens, when weights come from memory
//   and the processor's prefetcher likes one stream.
// - GroupProduct: sixteen rows stored side by side (avx512_group_product.h), for few tokens.
// - PanelProduct: sixteen or 32 rows (avx512_panel_product.h), unpacked once for a tile's tokens.

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/avx512_codebooks.h"
#include "backend/cpu/x86/avx512_formats.h"
#include "backend/cpu/x86/avx512_group_product.h"
#include "backend/cpu/x86/avx512_panel_product.h"
#include "backend/cpu/x86/avx512_plain_formats.h"
#include "backend/cpu/x86/avx512_row_product.h"

namespace doppler {
namespace {

// From so many tokens on unpacking sixteen rows pays.
constexpr int kLeastForPanels = 4;

template <class Format>
void Multiply(const MatMulTile& tile) {
  if constexpr (Grouped<Format>::kExists) {
    if (tile.grouped && tile.tokens < kLeastForPanels) {
      for (int row = 0; row < tile.rows; row += kRowsOfGroup) {
        GroupProduct<Format>::AllTokens(tile, row);
      }
      return;
    }
  }
  int row = 0;
  if (tile.tokens >= kLeastForPanels) {
    PanelProduct<Format> product;
    row = Panels<Format>::MultiplyRows(tile, product);
  }
  for (; row < tile.rows; ++row) RowProduct<Format>::AllTokens(tile, row);
}

}  // namespace

namespace avx512 {
void MatMulQ80(const MatMulTile& tile) { Multiply<Q80>(tile); }
void MatMulQ40(const MatMulTile& tile) { Multiply<Q40>(tile); }
void MatMulQ4K(const MatMulTile& tile) { Multiply<Q4K>(tile); }
void MatMulQ5K(const MatMulTile& tile) { Multiply<Q5K>(tile); }
void MatMulQ6K(const MatMulTile& tile) { Multiply<Q6K>(tile); }
void MatMulIq4Nl(const MatMulTile& tile) { Multiply<Iq4Nl>(tile); }
void MatMulMxfp4(const MatMulTile& tile) { Multiply<Mxfp4>(tile); }
void MatMulInt4G32(const MatMulTile& tile) { Multiply<Int4G32>(tile); }
void MatMulQ41(const MatMulTile& tile) { Multiply<Q41>(tile); }
void MatMulQ50(const MatMulTile& tile) { Multiply<Q50>(tile); }
void MatMulQ51(const MatMulTile& tile) { Multiply<Q51>(tile); }
void MatMulQ2K(const MatMulTile& tile) { Multiply<Q2K>(tile); }
void MatMulQ3K(const MatMulTile& tile) { Multiply<Q3K>(tile); }
void MatMulIq4Xs(const MatMulTile& tile) { Multiply<Iq4Xs>(tile); }
void MatMulIq3Xxs(const MatMulTile& tile) { Multiply<Iq3Xxs>(tile); }
void MatMulIq3S(const MatMulTile& tile) { Multiply<Iq3S>(tile); }
void MatMulIq2Xxs(const MatMulTile& tile) { Multiply<Iq2Xxs>(tile); }
void MatMulIq2Xs(const MatMulTile& tile) { Multiply<Iq2Xs>(tile); }
void MatMulIq2S(const MatMulTile& tile) { Multiply<Iq2S>(tile); }
void MatMulIq1S(const MatMulTile& tile) { Multiply<Iq1S>(tile); }
void MatMulIq1M(const MatMulTile& tile) { Multiply<Iq1M>(tile); }
}  // namespace avx512

}  // namespace doppler
