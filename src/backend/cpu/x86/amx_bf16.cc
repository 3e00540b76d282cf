// Products of prompts with AMX: weights and activations of bf16 (amx_bf16_product.h).

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/amx_bf16_product.h"
#include "backend/cpu/x86/amx_tile_configuration.h"
#include "backend/cpu/x86/avx512_codebooks.h"
#include "backend/cpu/x86/avx512_formats.h"
#include "backend/cpu/x86/avx512_plain_formats.h"

namespace doppler {
namespace {

// Tiles 0 to 3 are the products of sixteen tokens each; 4 has sixteen tokens' activations, 5 those
// of the last ones, and 6 weights.
class AmxHalfTiles {
 public:
  static void Release() { _tile_release(); }

  void SetTokens(int tokens) {
    last_ = (tokens - 1) / kTileRows;
    const int left = tokens - last_ * kTileRows;
    TileConfiguration configuration;
    for (int i = 0; i < 4; ++i) {
      configuration.Describe(i, i == last_ ? left : kTileRows, kTileRowBytes);
    }
    configuration.Describe(4, kTileRows, kTileRowBytes);
    configuration.Describe(5, left, kTileRowBytes);
    configuration.Describe(6, kTileRows, kTileRowBytes);
    MemoryIsRead();
    _tile_loadconfig(&configuration);
  }

  static void SetZero() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }

  void Load(const float (&sums)[MatMulTile::kMaxTokens][kTileRows]) const {
    MemoryIsRead();
    _tile_loadd(0, sums[0], kTileRowBytes);
    if (last_ >= 1) _tile_loadd(1, sums[kTileRows], kTileRowBytes);
    if (last_ >= 2) _tile_loadd(2, sums[2 * kTileRows], kTileRowBytes);
    if (last_ >= 3) _tile_loadd(3, sums[3 * kTileRows], kTileRowBytes);
  }

  void Store(float (&sums)[MatMulTile::kMaxTokens][kTileRows]) const {
    _tile_stored(0, sums[0], kTileRowBytes);
    if (last_ >= 1) _tile_stored(1, sums[kTileRows], kTileRowBytes);
    if (last_ >= 2) _tile_stored(2, sums[2 * kTileRows], kTileRowBytes);
    if (last_ >= 3) _tile_stored(3, sums[3 * kTileRows], kTileRowBytes);
    MemoryIsRead();
  }

  void Add(const Bf16* x, std::ptrdiff_t stride, const HalfTile& words) const {
    MemoryIsRead();
    _tile_loadd(6, words, kTileRowBytes);
    for (int i = 0; i < last_; ++i) {
      _tile_loadd(4, x + i * stride, kTileRowBytes);
      Multiply(i);
    }
    _tile_loadd(5, x + last_ * stride, kTileRowBytes);
    MultiplyLast();
  }

 private:
  // GCC 12's intrinsics do not say so.
  static void MemoryIsRead() { __asm__ volatile("" : : : "memory"); }

  // GCC 12 takes only literal numbers of tiles.
  static void Multiply(int product) {
    if (product == 0) {
      _tile_dpbf16ps(0, 4, 6);
    } else if (product == 1) {
      _tile_dpbf16ps(1, 4, 6);
    } else {
      _tile_dpbf16ps(2, 4, 6);
    }
  }

  void MultiplyLast() const {
    if (last_ == 0) {
      _tile_dpbf16ps(0, 5, 6);
    } else if (last_ == 1) {
      _tile_dpbf16ps(1, 5, 6);
    } else if (last_ == 2) {
      _tile_dpbf16ps(2, 5, 6);
    } else {
      _tile_dpbf16ps(3, 5, 6);
    }
  }

  int last_ = 0;  // of the products
};

struct Fp16Lanes {
  static __m512i FromInts(__m512i whole) { return _mm512_castph_si512(_mm512_cvtepi16_ph(whole)); }
  static __m512i Multiply(__m512i a, __m512i b) {
    return _mm512_castph_si512(_mm512_mul_ph(_mm512_castsi512_ph(a), _mm512_castsi512_ph(b)));
  }
  static __m512i MultiplyAdd(__m512i a, __m512i b, __m512i c) {
    return _mm512_castph_si512(
        _mm512_fmadd_ph(_mm512_castsi512_ph(a), _mm512_castsi512_ph(b), _mm512_castsi512_ph(c)));
  }
};

template <class Format>
void Multiply(const MatMulTile& tile) {
  MultiplyByHalfTiles<Format, AmxHalfTiles, Fp16Lanes>(tile);
}

}  // namespace

namespace amx_bf16 {
void ToHalves(const float* in, int row, const QuantizedRows& out) { WriteHalves(in, row, out); }
void MatMulQ80(const MatMulTile& tile) { Multiply<Q80>(tile); }
void MatMulQ40(const MatMulTile& tile) { Multiply<Q40>(tile); }
void MatMulQ4K(const MatMulTile& tile) { Multiply<Q4K>(tile); }
void MatMulQ5K(const MatMulTile& tile) { Multiply<Q5K>(tile); }
void MatMulQ6K(const MatMulTile& tile) { Multiply<Q6K>(tile); }
void MatMulQ41(const MatMulTile& tile) { Multiply<Q41>(tile); }
void MatMulQ50(const MatMulTile& tile) { Multiply<Q50>(tile); }
void MatMulQ51(const MatMulTile& tile) { Multiply<Q51>(tile); }
void MatMulQ2K(const MatMulTile& tile) { Multiply<Q2K>(tile); }
void MatMulQ3K(const MatMulTile& tile) { Multiply<Q3K>(tile); }
void MatMulIq4Nl(const MatMulTile& tile) { Multiply<Iq4Nl>(tile); }
void MatMulIq4Xs(const MatMulTile& tile) { Multiply<Iq4Xs>(tile); }
void MatMulIq3Xxs(const MatMulTile& tile) { Multiply<Iq3Xxs>(tile); }
void MatMulIq3S(const MatMulTile& tile) { Multiply<Iq3S>(tile); }
void MatMulIq2Xxs(const MatMulTile& tile) { Multiply<Iq2Xxs>(tile); }
void MatMulIq2Xs(const MatMulTile& tile) { Multiply<Iq2Xs>(tile); }
void MatMulIq2S(const MatMulTile& tile) { Multiply<Iq2S>(tile); }
void MatMulIq1S(const MatMulTile& tile) { Multiply<Iq1S>(tile); }
void MatMulIq1M(const MatMulTile& tile) { Multiply<Iq1M>(tile); }
void MatMulMxfp4(const MatMulTile& tile) { Multiply<Mxfp4>(tile); }
void MatMulInt4G32(const MatMulTile& tile) { Multiply<Int4G32>(tile); }
}  // namespace amx_bf16

}  // namespace doppler
