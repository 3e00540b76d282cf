#include "backend/cpu/x86/emulated_tiles.h"

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/amx_bf16_product.h"
#include "backend/cpu/x86/amx_tile_product.h"

namespace doppler {
namespace {

class EmulatedTiles {
 public:
  explicit EmulatedTiles(int words) : words_(words) {}
  void SetTokens(int tokens) { tokens_ = tokens; }
  void Release() { tokens_ = 0; }

  // TDPBSSD (Intel's Architecture Instruction Set Extensions reference, chapter 3): row m of the
  // first operand has bytes 4 * k + i, row k of the second bytes 4 * n + i.
  template <int kSlot>
  void Multiply(const std::int8_t* x, std::ptrdiff_t stride, const __m512i* words,
                std::int32_t (&dots)[16][16]) const {
    const auto* weights = reinterpret_cast<const signed char*>(words);
    for (int m = 0; m < tokens_; ++m) {
      for (int n = 0; n < 16; ++n) {
        std::int32_t sum = 0;
        for (int k = 0; k < words_; ++k) {
          for (int i = 0; i < 4; ++i) {
            sum += x[m * stride + 4 * k + i] * weights[64 * k + 4 * n + i];
          }
        }
        dots[m][n] = sum;
      }
    }
  }

 private:
  int words_;
  int tokens_ = 0;
};

float BfloatToFloat(unsigned bits) {
  const unsigned shifted = bits << 16;
  float out;
  __builtin_memcpy(&out, &shifted, sizeof(out));
  return out;
}

// TDPBF16PS, without what it does to numbers too small for floats: row m of the first operand has
// bf16 2 * k and 2 * k + 1, row k of the second 2 * n and 2 * n + 1. Products of either kind are
// added up apart, then both to what was there.
class EmulatedHalfTiles {
 public:
  using Sums = float[16][16];

  static void Begin() {}
  static void Release() {}
  void SetShape(int panels, int count) {
    panels_ = panels;
    count_ = count;
  }
  void SetZero() { __builtin_memset(sums_, 0, sizeof(sums_)); }
  void Load(int p, int t, const Sums& sums) { __builtin_memcpy(sums_[p][t], sums, sizeof(sums)); }
  void Store(int p, int t, Sums& sums) const { __builtin_memcpy(sums, sums_[p][t], sizeof(sums)); }

  void LoadWeights(const HalfTile (&words)[2]) { words_ = words; }

  void Add(const Bf16* x, std::ptrdiff_t stride) {
    for (int p = 0; p < panels_; ++p) {
      for (int t = 0; t < count_; ++t) AddProducts(x + t * stride, words_[p], sums_[p][t]);
    }
  }

 private:
  static void AddProducts(const Bf16* x, const HalfTile& words, Sums& sums) {
    const auto* weights = reinterpret_cast<const unsigned short*>(words);
    for (int m = 0; m < 16; ++m) {
      const Bf16* row = x + std::ptrdiff_t{m} * 32;
      for (int n = 0; n < 16; ++n) {
        float even = 0;
        float odd = 0;
        for (int k = 0; k < 16; ++k) {
          even = __builtin_fmaf(BfloatToFloat(row[2 * k].bits),
                                BfloatToFloat(weights[32 * k + 2 * n]), even);
          odd = __builtin_fmaf(BfloatToFloat(row[2 * k + 1].bits),
                               BfloatToFloat(weights[32 * k + 2 * n + 1]), odd);
        }
        sums[m][n] += even + odd;
      }
    }
  }

  int panels_ = 0;
  int count_ = 0;
  const HalfTile* words_ = nullptr;
  Sums sums_[2][3] = {};
};

// Numbers of f16 by way of float, where a product of two is exact. A sum is rounded to odd there,
// so that it is rounded once in the end.
struct EmulatedFp16Lanes {
  static float Get(__m512i lanes, int i) {
    unsigned short bits[32];
    __builtin_memcpy(bits, &lanes, sizeof(bits));
    return _cvtsh_ss(bits[i]);
  }

  template <class Value>
  static __m512i Each(const Value& value) {
    unsigned short bits[32];
    for (int i = 0; i < 32; ++i) {
      const __m128i f16 = _mm_cvtps_ph(_mm_set_ss(value(i)), _MM_FROUND_TO_NEAREST_INT);
      bits[i] = static_cast<unsigned short>(_mm_cvtsi128_si32(f16));
    }
    return _mm512_loadu_si512(bits);
  }

  static __m512i FromInts(__m512i whole) {
    short ints[32];
    __builtin_memcpy(ints, &whole, sizeof(ints));
    return Each([&](int i) { return static_cast<float>(ints[i]); });
  }
  static __m512i Multiply(__m512i a, __m512i b) {
    return Each([&](int i) { return Get(a, i) * Get(b, i); });
  }
  static __m512i MultiplyAdd(__m512i a, __m512i b, __m512i c) {
    return Each([&](int i) {
      const double exact = static_cast<double>(Get(a, i)) * Get(b, i) + Get(c, i);
      auto rounded = static_cast<float>(exact);
      unsigned bits;
      __builtin_memcpy(&bits, &rounded, sizeof(bits));
      if (rounded != exact) bits |= 1u;
      __builtin_memcpy(&rounded, &bits, sizeof(bits));
      return rounded;
    });
  }
};

}  // namespace

constinit const MatMulKernels kEmulatedTileProducts = ProductsByType<TileProducts<EmulatedTiles>>();
constinit const MatMulKernels kEmulatedHalfTileProducts =
    ProductsByType<HalfTileProducts<EmulatedHalfTiles, EmulatedFp16Lanes>>();

void EmulatedToHalves(const float* in, int row, const QuantizedRows& out) {
  WriteHalves(in, row, out);
}

}  // namespace doppler
