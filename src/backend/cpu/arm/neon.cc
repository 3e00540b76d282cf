// The table for AArch64 with dot products: four lanes, tails through a small buffer.

#include <arm_neon.h>

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/vector_kernels.h"
#include "backend/cpu/vector_table.h"

namespace doppler {
namespace {

struct NeonVector {
  using F = float32x4_t;
  static constexpr int kLanes = 4;
  template <class T>
  static constexpr bool kInPanels = sizeof(T) == 1;
  static constexpr int kBlockRows = 4;
  static constexpr int kBlockTokens = 3;
  static constexpr int kPanelRows = 8;
  static constexpr int kPanelTokens = 3;
  static constexpr float kF8Factor = 256;

  static F InRegister(F a) {
    __asm__("" : "+w"(a));
    return a;
  }
  static F Zero() { return vdupq_n_f32(0); }
  static F Set1(float value) { return vdupq_n_f32(value); }
  static F Add(F a, F b) { return vaddq_f32(a, b); }
  static F Sub(F a, F b) { return vsubq_f32(a, b); }
  static F Mul(F a, F b) { return vmulq_f32(a, b); }
  static F Div(F a, F b) { return vdivq_f32(a, b); }
  // The instructions for these pass on what is not a number from either side.
  static F Min(F a, F b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static F Max(F a, F b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static F Abs(F a) { return vabsq_f32(a); }
  static F Fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  static F Round(F a) { return vrndnq_f32(a); }
  static F PowerOfTwo(F n) {
    const int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23));
  }
  static float Sum(F a) { return vaddvq_f32(a); }
  static float Largest(F a) { return vmaxvq_f32(a); }

  static F Load(const float* from) { return vld1q_f32(from); }
  static F Load(const Fp16* from) { return vcvt_f32_f16(vreinterpret_f16_u16(Load16(from))); }
  static F Load(const Bf16* from) { return vreinterpretq_f32_u32(vshll_n_u16(Load16(from), 16)); }
  // The seven bits of size, moved to where f16 has them, are 2^-8 of what they were.
  static F Load(const F8E4M3* from) {
    std::uint32_t four;
    __builtin_memcpy(&four, from, sizeof(four));
    const int16x4_t wide = vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four))));
    const uint16x4_t bits = vand_u16(vreinterpret_u16_s16(vshl_n_s16(wide, 7)), vdup_n_u16(0xbf80));
    const uint16x4_t largest = vdup_n_u16(0x3f80);
    const uint16x4_t is_nan = vceq_u16(vand_u16(bits, largest), largest);
    const uint16x4_t f16 = vorr_u16(bits, vand_u16(is_nan, vdup_n_u16(0x7c00)));
    return vcvt_f32_f16(vreinterpret_f16_u16(f16));
  }
  template <class T>
  static uint16x4_t Load16(const T* from) {
    uint16x4_t bits;
    __builtin_memcpy(&bits, from, sizeof(bits));
    return bits;
  }
  template <class T>
  static F LoadPart(const T* from, int count) {
    T buffer[kLanes] = {};
    for (int i = 0; i < count; ++i) buffer[i] = from[i];
    return Load(buffer);
  }

  static void Store(float* to, F a) { vst1q_f32(to, a); }
  static void Store(Fp16* to, F a) {
    const float16x4_t halves = vcvt_f16_f32(a);
    __builtin_memcpy(to, &halves, sizeof(halves));
  }
  template <class T>
  static void StorePart(T* to, int count, F a) {
    T buffer[kLanes];
    Store(buffer, a);
    for (int i = 0; i < count; ++i) to[i] = buffer[i];
  }
  static void StoreInt8(std::int8_t* to, F a) {
    const int16x4_t words = vqmovn_s32(vcvtq_s32_f32(a));
    const int8x8_t bytes = vqmovn_s16(vcombine_s16(words, words));
    __builtin_memcpy(to, &bytes, kLanes);
  }
};

using V = NeonVector;

}  // namespace

constinit const CpuKernels kNeonDotKernels = WithFloatKernels<V>({
    .name = "neon-dot",
    .matmul = &neon::kProducts,
    .quantize = QuantizeRow<V>,
    .reads_groups = true,
});

}  // namespace doppler
