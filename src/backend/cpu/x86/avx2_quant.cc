// Integer dot products with AVX2.
//
// An output is the sum over runs of 16 or 32 values of
//
//   weight scale * activation scale * dot(weights, activations) + offset * sum(activations)
//
// Products of unsigned weights and signed activations are added in pairs as int16, which
// 127 * 128 * 2 just fits, and the pairs as int32: dots are whole numbers and exact. Of the runs of
// a chunk of 256 values each eight have a lane each, which adds up its runs from chunk to chunk; at
// the end the lanes are added pairwise, halves first. Both ways of computing follow that order, so
// that they give the same bits:
//
//   RowProduct    rows in order (avx2_row_product.h), 32 weights of a row in a register.
//   GroupProduct  rows in groups (avx2_group_product.h), four weights of eight rows in a register.

#include <immintrin.h>

#include "backend/cpu/matmul_tile.h"
#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/avx2_codebooks.h"
#include "backend/cpu/x86/avx2_formats.h"
#include "backend/cpu/x86/avx2_group_formats.h"
#include "backend/cpu/x86/avx2_group_product.h"
#include "backend/cpu/x86/avx2_row_product.h"
#include "backend/cpu/x86/avx2_small_formats.h"

namespace doppler {
namespace {

template <class Format>
void InOrder(const MatMulTile& tile) {
  RunTile<RowProduct<Format>>(tile);
}

// Of formats that are also stored in groups.
template <class Format, class Grouped>
void Either(const MatMulTile& tile) {
  if (!tile.grouped) return InOrder<Format>(tile);
  for (int row = 0; row < tile.rows; row += kRowsOfGroup) {
    GroupProduct<Grouped>::AllTokens(tile, row);
  }
}

}  // namespace

namespace avx2 {
void MatMulQ80(const MatMulTile& tile) { Either<SmallBlocks<Q80>, GroupedQ80>(tile); }
void MatMulQ40(const MatMulTile& tile) { Either<SmallBlocks<Q40>, GroupedQ40>(tile); }
void MatMulQ4K(const MatMulTile& tile) { Either<SuperBlocks<Q4K>, GroupedQ4K>(tile); }
void MatMulQ5K(const MatMulTile& tile) { Either<SuperBlocks<Q5K>, GroupedQ5K>(tile); }
void MatMulQ6K(const MatMulTile& tile) { Either<SuperBlocks<Q6K>, GroupedQ6K>(tile); }
void MatMulIq4Nl(const MatMulTile& tile) { Either<SmallBlocks<Iq4Nl>, GroupedIq4Nl>(tile); }
void MatMulMxfp4(const MatMulTile& tile) { Either<SmallBlocks<Mxfp4>, GroupedMxfp4>(tile); }
void MatMulInt4G32(const MatMulTile& tile) { Either<SmallBlocks<Int4G32>, GroupedInt4G32>(tile); }
void MatMulQ41(const MatMulTile& tile) { InOrder<SmallBlocks<Q41>>(tile); }
void MatMulQ50(const MatMulTile& tile) { InOrder<SmallBlocks<Q50>>(tile); }
void MatMulQ51(const MatMulTile& tile) { InOrder<SmallBlocks<Q51>>(tile); }
void MatMulQ2K(const MatMulTile& tile) { InOrder<SuperBlocks<Q2K>>(tile); }
void MatMulQ3K(const MatMulTile& tile) { InOrder<SuperBlocks<Q3K>>(tile); }
void MatMulIq4Xs(const MatMulTile& tile) { InOrder<SuperBlocks<Iq4Xs>>(tile); }
void MatMulIq3Xxs(const MatMulTile& tile) { InOrder<SuperBlocks<Iq3Xxs>>(tile); }
void MatMulIq3S(const MatMulTile& tile) { InOrder<SuperBlocks<Iq3S>>(tile); }
void MatMulIq2Xxs(const MatMulTile& tile) { InOrder<SuperBlocks<Iq2Xxs>>(tile); }
void MatMulIq2Xs(const MatMulTile& tile) { InOrder<SuperBlocks<Iq2Xs>>(tile); }
void MatMulIq2S(const MatMulTile& tile) { InOrder<SuperBlocks<Iq2S>>(tile); }
void MatMulIq1S(const MatMulTile& tile) { InOrder<SuperBlocks<Iq1S>>(tile); }
void MatMulIq1M(const MatMulTile& tile) { InOrder<SuperBlocks<Iq1M>>(tile); }
}  // namespace avx2

}  // namespace doppler
