// The table for any processor: four lanes, which every 64-bit processor has.

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/vector_kernels.h"
#include "backend/cpu/vector_table.h"
#include "base/float16.h"
#include "base/float8.h"

namespace doppler {
namespace {

// A GCC vector extension: Clang has it too and each compiles it to its processor's registers.
struct Vector4 {
  using F = float __attribute__((vector_size(16)));
  using I = std::int32_t __attribute__((vector_size(16)));
  static constexpr int kLanes = 4;
  template <class T>
  static constexpr bool kInPanels = true;
  static constexpr int kBlockTokens = 4;
  static constexpr int kPanelRows = 2;
  static constexpr int kPanelTokens = 4;
  static constexpr float kF8Factor = 1;

  static F InRegister(F a) { return a; }
  static F Zero() { return F{}; }
  static F Set1(float value) { return F{value, value, value, value}; }
  static F Add(F a, F b) { return a + b; }
  static F Sub(F a, F b) { return a - b; }
  static F Mul(F a, F b) { return a * b; }
  static F Div(F a, F b) { return a / b; }
  static F Min(F a, F b) { return a < b ? a : b; }
  static F Max(F a, F b) { return a > b ? a : b; }
  static F Abs(F a) { return reinterpret_cast<F>(reinterpret_cast<I>(a) & 0x7fffffff); }
  static F Fma(F a, F b, F c) { return a * b + c; }
  // Right up to 2^22: adding 1.5 * 2^23 leaves no bits after the point.
  static F Round(F a) { return (a + 12582912.0f) - 12582912.0f; }
  static F PowerOfTwo(F n) {
    return reinterpret_cast<F>((__builtin_convertvector(n, I) + 127) << 23);
  }
  static float Sum(F a) { return (a[0] + a[2]) + (a[1] + a[3]); }
  static float Largest(F a) {
    const float low = a[0] > a[1] ? a[0] : a[1];
    const float high = a[2] > a[3] ? a[2] : a[3];
    return low > high ? low : high;
  }

  static float ToFloat(float value) { return value; }
  static float ToFloat(Fp16 value) { return Fp16ToFloat(value.bits); }
  static float ToFloat(Bf16 value) { return Bf16ToFloat(value.bits); }
  static float ToFloat(F8E4M3 value) { return E4M3ToFloat(value.bits); }

  template <class T>
  static F Load(const T* from) {
    return F{ToFloat(from[0]), ToFloat(from[1]), ToFloat(from[2]), ToFloat(from[3])};
  }
  template <class T>
  static F LoadPart(const T* from, int count) {
    F out{};
    for (int i = 0; i < count; ++i) out[i] = ToFloat(from[i]);
    return out;
  }
  static void Store(float* to, F a) { __builtin_memcpy(to, &a, sizeof(a)); }
  static void StorePart(float* to, int count, F a) {
    for (int i = 0; i < count; ++i) to[i] = a[i];
  }
  static void Store(Fp16* to, F a) { StorePart(to, kLanes, a); }
  static void StorePart(Fp16* to, int count, F a) {
    for (int i = 0; i < count; ++i) to[i].bits = FloatToFp16(a[i]);
  }
};

using V = Vector4;

}  // namespace

constinit const CpuKernels kPortableKernels = WithFloatKernels<V>({
    .name = "portable",
    .matmul = &portable::kProducts,
    .quantize = nullptr,
});

}  // namespace doppler
