// Products of prompts with AMX: weights and activations of bf16 (amx_bf16_product.h).

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/amx_bf16_product.h"
#include "backend/cpu/x86/amx_tile_configuration.h"

namespace doppler {
namespace {

// Tile 3 * p + t has the sums of panel p and tokens t. With three tiles of tokens 6 has weights and
// 7 activations; with fewer 6 and 7 have the weights of both panels, and 2 and 5 activations.
class AmxHalfTiles {
 public:
  static void Begin() {
    TileConfiguration configuration;
    for (int i = 0; i < 8; ++i) configuration.Describe(i, kTileRows, kTileRowBytes);
    MemoryIsRead();
    _tile_loadconfig(&configuration);
  }
  static void Release() { _tile_release(); }

  void SetShape(int panels, int count) {
    panels_ = panels;
    count_ = count;
  }

  static void SetZero() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
  }

  // GCC 12 takes only literal numbers of tiles.
  static void Load(int p, int t, const float (&sums)[kTileRows][kTileRows]) {
    MemoryIsRead();
    if (p == 0 && t == 0) _tile_loadd(0, sums, kTileRowBytes);
    if (p == 0 && t == 1) _tile_loadd(1, sums, kTileRowBytes);
    if (p == 0 && t == 2) _tile_loadd(2, sums, kTileRowBytes);
    if (p == 1 && t == 0) _tile_loadd(3, sums, kTileRowBytes);
    if (p == 1 && t == 1) _tile_loadd(4, sums, kTileRowBytes);
    if (p == 1 && t == 2) _tile_loadd(5, sums, kTileRowBytes);
  }
  static void Store(int p, int t, float (&sums)[kTileRows][kTileRows]) {
    if (p == 0 && t == 0) _tile_stored(0, sums, kTileRowBytes);
    if (p == 0 && t == 1) _tile_stored(1, sums, kTileRowBytes);
    if (p == 0 && t == 2) _tile_stored(2, sums, kTileRowBytes);
    if (p == 1 && t == 0) _tile_stored(3, sums, kTileRowBytes);
    if (p == 1 && t == 1) _tile_stored(4, sums, kTileRowBytes);
    if (p == 1 && t == 2) _tile_stored(5, sums, kTileRowBytes);
    MemoryIsRead();
  }

  void LoadWeights(const HalfTile (&words)[2]) {
    words_ = words;
    if (count_ == 3) return;
    MemoryIsRead();
    _tile_loadd(6, words[0], kTileRowBytes);
    if (panels_ == 2) _tile_loadd(7, words[1], kTileRowBytes);
  }

  void Add(const Bf16* x, std::ptrdiff_t stride) const {
    if (count_ == 3) return AddToThree(x, stride);
    _tile_loadd(2, x, kTileRowBytes);
    _tile_dpbf16ps(0, 2, 6);
    if (panels_ == 2) _tile_dpbf16ps(3, 2, 7);
    if (count_ == 1) return;
    _tile_loadd(5, x + stride, kTileRowBytes);
    _tile_dpbf16ps(1, 5, 6);
    if (panels_ == 2) _tile_dpbf16ps(4, 5, 7);
  }

 private:
  // GCC 12's intrinsics do not say so.
  static void MemoryIsRead() { __asm__ volatile("" : : : "memory"); }

  void AddToThree(const Bf16* x, std::ptrdiff_t stride) const {
    MemoryIsRead();
    _tile_loadd(6, words_[0], kTileRowBytes);
    _tile_loadd(7, x, kTileRowBytes);
    _tile_dpbf16ps(0, 7, 6);
    _tile_loadd(7, x + stride, kTileRowBytes);
    _tile_dpbf16ps(1, 7, 6);
    _tile_loadd(7, x + 2 * stride, kTileRowBytes);
    _tile_dpbf16ps(2, 7, 6);
    if (panels_ == 1) return;
    _tile_loadd(6, words_[1], kTileRowBytes);
    _tile_loadd(7, x, kTileRowBytes);
    _tile_dpbf16ps(3, 7, 6);
    _tile_loadd(7, x + stride, kTileRowBytes);
    _tile_dpbf16ps(4, 7, 6);
    _tile_loadd(7, x + 2 * stride, kTileRowBytes);
    _tile_dpbf16ps(5, 7, 6);
  }

  int panels_ = 0;
  int count_ = 0;
  const HalfTile* words_ = nullptr;
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

}  // namespace

namespace amx_bf16 {
constinit const MatMulKernels kProducts =
    ProductsByType<HalfTileProducts<AmxHalfTiles, Fp16Lanes>>();

void ToHalves(const float* in, int row, const QuantizedRows& out) { WriteHalves(in, row, out); }
}  // namespace amx_bf16

}  // namespace doppler
