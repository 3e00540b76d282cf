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
//
// Formats that share exponents have fewer sums (avx512_shared_exponents.h), and SharedProduct
// (avx512_shared_product.h) for panels.

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/avx512_format_list.h"
#include "backend/cpu/x86/avx512_group_product.h"
#include "backend/cpu/x86/avx512_panel_product.h"
#include "backend/cpu/x86/avx512_row_product.h"
#include "backend/cpu/x86/avx512_shared_product.h"

namespace doppler {
namespace {

struct VnniProducts {
  template <class Format>
  static void Run(const MatMulTile& tile) {
    if constexpr (Grouped<Format>::kExists) {
      if (tile.grouped && tile.tokens < Grouped<Format>::kLeastForPanels) {
        GroupProduct<Format>::AllRows(tile);
        return;
      }
    }
    int row = 0;
    if (tile.tokens >= kLeastForPanels) {
      if constexpr (Format::kSharesExponents) {
        SharedProduct<Format> product;
        row = MultiplyRows<SharedPanels<Format>>(tile, product);
      } else {
        PanelProduct<Format> product;
        row = MultiplyRows<Panels<Format>>(tile, product);
      }
    }
    for (; row < tile.rows; ++row) RowProduct<Format>::AllTokens(tile, row);
  }
};

}  // namespace

namespace avx512 {
constinit const MatMulKernels kProducts = ProductsByType<VnniProducts>();
}  // namespace avx512

}  // namespace doppler
