// Integer dot products with AMX: the bits of AVX-512 VNNI, with tiles from some tokens on.

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/amx_tile_configuration.h"
#include "backend/cpu/x86/amx_tile_product.h"

namespace doppler {
namespace {

// Tiles 3 * slot to 3 * slot + 2 are the slot's dot products, activations and weights.
class AmxTiles {
 public:
  explicit AmxTiles(int words) : words_(words) {}

  // A change of threads does not save 8 KiB of tiles then.
  static void Release() { _tile_release(); }

  void SetTokens(int tokens) {
    if (tokens == tokens_) return;
    tokens_ = tokens;
    TileConfiguration configuration;
    for (int tile = 0; tile < 6; tile += 3) {
      configuration.Describe(tile, tokens, kTileRowBytes);
      configuration.Describe(tile + 1, tokens, 4 * words_);
      configuration.Describe(tile + 2, words_, kTileRowBytes);
    }
    MemoryIsRead();
    _tile_loadconfig(&configuration);
  }

  // GCC 12 takes only literal numbers of tiles.
  template <int kSlot>
  static void Multiply(const std::int8_t* x, std::ptrdiff_t stride, const __m512i* words,
                       std::int32_t (&dots)[16][16]) {
    MemoryIsRead();
    if constexpr (kSlot == 0) {
      _tile_zero(0);
      _tile_loadd(1, x, stride);
      _tile_loadd(2, words, kTileRowBytes);
      _tile_dpbssd(0, 1, 2);
      _tile_stored(0, dots, kTileRowBytes);
    } else {
      _tile_zero(3);
      _tile_loadd(4, x, stride);
      _tile_loadd(5, words, kTileRowBytes);
      _tile_dpbssd(3, 4, 5);
      _tile_stored(3, dots, kTileRowBytes);
    }
  }

 private:
  // GCC 12's intrinsics do not say so.
  static void MemoryIsRead() { __asm__ volatile("" : : : "memory"); }

  int words_;
  int tokens_ = 0;
};

}  // namespace

namespace amx {
constinit const MatMulKernels kProducts = ProductsByType<TileProducts<AmxTiles>>();
}  // namespace amx

}  // namespace doppler
