// Integer dot products with AMX: the bits of AVX-512 VNNI, with tiles from some tokens on.

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/amx_tile_configuration.h"
#include "backend/cpu/x86/amx_tile_product.h"
#include "backend/cpu/x86/avx512_codebooks.h"
#include "backend/cpu/x86/avx512_formats.h"
#include "backend/cpu/x86/avx512_plain_formats.h"

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

template <class Format>
void Multiply(const MatMulTile& tile, MatMulKernel vnni) {
  MultiplyByTiles<Format, AmxTiles>(tile, vnni);
}

}  // namespace

namespace amx {
void MatMulQ80(const MatMulTile& tile) { Multiply<Q80>(tile, avx512::MatMulQ80); }
void MatMulQ40(const MatMulTile& tile) { Multiply<Q40>(tile, avx512::MatMulQ40); }
void MatMulQ4K(const MatMulTile& tile) { Multiply<Q4K>(tile, avx512::MatMulQ4K); }
void MatMulQ5K(const MatMulTile& tile) { Multiply<Q5K>(tile, avx512::MatMulQ5K); }
void MatMulQ6K(const MatMulTile& tile) { Multiply<Q6K>(tile, avx512::MatMulQ6K); }
void MatMulQ41(const MatMulTile& tile) { Multiply<Q41>(tile, avx512::MatMulQ41); }
void MatMulQ50(const MatMulTile& tile) { Multiply<Q50>(tile, avx512::MatMulQ50); }
void MatMulQ51(const MatMulTile& tile) { Multiply<Q51>(tile, avx512::MatMulQ51); }
void MatMulQ2K(const MatMulTile& tile) { Multiply<Q2K>(tile, avx512::MatMulQ2K); }
void MatMulQ3K(const MatMulTile& tile) { Multiply<Q3K>(tile, avx512::MatMulQ3K); }
void MatMulIq4Nl(const MatMulTile& tile) { Multiply<Iq4Nl>(tile, avx512::MatMulIq4Nl); }
void MatMulIq4Xs(const MatMulTile& tile) { Multiply<Iq4Xs>(tile, avx512::MatMulIq4Xs); }
void MatMulIq3Xxs(const MatMulTile& tile) { Multiply<Iq3Xxs>(tile, avx512::MatMulIq3Xxs); }
void MatMulIq3S(const MatMulTile& tile) { Multiply<Iq3S>(tile, avx512::MatMulIq3S); }
void MatMulIq2Xxs(const MatMulTile& tile) { Multiply<Iq2Xxs>(tile, avx512::MatMulIq2Xxs); }
void MatMulIq2Xs(const MatMulTile& tile) { Multiply<Iq2Xs>(tile, avx512::MatMulIq2Xs); }
void MatMulIq2S(const MatMulTile& tile) { Multiply<Iq2S>(tile, avx512::MatMulIq2S); }
void MatMulIq1S(const MatMulTile& tile) { Multiply<Iq1S>(tile, avx512::MatMulIq1S); }
void MatMulIq1M(const MatMulTile& tile) { Multiply<Iq1M>(tile, avx512::MatMulIq1M); }
void MatMulMxfp4(const MatMulTile& tile) { Multiply<Mxfp4>(tile, avx512::MatMulMxfp4); }
void MatMulInt4G32(const MatMulTile& tile) { Multiply<Int4G32>(tile, avx512::MatMulInt4G32); }
}  // namespace amx

}  // namespace doppler
