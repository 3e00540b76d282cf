// The tables for AVX-512 F, BW, DQ, VL and VNNI, and for AMX-INT8 beside these: sixteen lanes,
// tails by mask.

#include <immintrin.h>

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/vector_kernels.h"
#include "backend/cpu/vector_table.h"

namespace doppler {
namespace {

struct Vector16 {
  using F = __m512;
  static constexpr int kLanes = 16;
  template <class T>
  static constexpr bool kInPanels = sizeof(T) == 1;
  static constexpr int kBlockRows = 4;
  static constexpr int kBlockTokens = 3;
  static constexpr int kPanelRows = 8;
  static constexpr int kPanelTokens = 3;
  static constexpr float kF8Factor = 256;

  static __mmask16 First(int count) { return static_cast<__mmask16>((1u << count) - 1); }

  static F InRegister(F a) {
    __asm__("" : "+v"(a));
    return a;
  }
  static F Zero() { return _mm512_setzero_ps(); }
  static F Set1(float value) { return _mm512_set1_ps(value); }
  static F Add(F a, F b) { return _mm512_add_ps(a, b); }
  static F Sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F Mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F Div(F a, F b) { return _mm512_div_ps(a, b); }
  static F Min(F a, F b) { return _mm512_min_ps(a, b); }
  static F Max(F a, F b) { return _mm512_max_ps(a, b); }
  static F Abs(F a) { return _mm512_abs_ps(a); }
  static F Fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F Round(F a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static F PowerOfTwo(F n) {
    const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
  }
  static float Sum(F a) { return _mm512_reduce_add_ps(a); }
  static float Largest(F a) { return _mm512_reduce_max_ps(a); }
  // Each step adds the halves of two registers' sums and leaves them side by side in one.
  static F SumEach(const F (&a)[16]) {
    F eights[8];
    for (int i = 0; i < 8; ++i) {
      eights[i] = Add(_mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0x44),
                      _mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0xee));
    }
    F fours[4];
    for (int i = 0; i < 4; ++i) {
      fours[i] = Add(_mm512_shuffle_f32x4(eights[2 * i], eights[2 * i + 1], 0x88),
                     _mm512_shuffle_f32x4(eights[2 * i], eights[2 * i + 1], 0xdd));
    }
    F twos[2];
    for (int i = 0; i < 2; ++i) {
      const __m512d first = _mm512_castps_pd(fours[2 * i]);
      const __m512d second = _mm512_castps_pd(fours[2 * i + 1]);
      twos[i] = Add(_mm512_castpd_ps(_mm512_unpacklo_pd(first, second)),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(first, second)));
    }
    const F sums =
        Add(_mm512_shuffle_ps(twos[0], twos[1], 0x88), _mm512_shuffle_ps(twos[0], twos[1], 0xdd));
    // Lane 4 * q + i has the sum of register 4 * i + q.
    return _mm512_permutexvar_ps(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), sums);
  }

  static F Load(const float* from) { return _mm512_loadu_ps(from); }
  static F LoadPart(const float* from, int count) {
    return _mm512_maskz_loadu_ps(First(count), from);
  }
  static F Load(const Fp16* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(from)));
  }
  static F LoadPart(const Fp16* from, int count) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(First(count), from));
  }
  static F Load(const Bf16* from) {
    return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(from)));
  }
  static F LoadPart(const Bf16* from, int count) {
    return Widen(_mm256_maskz_loadu_epi16(First(count), from));
  }
  static F Load(const F8E4M3* from) {
    return WidenF8(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from)));
  }
  static F LoadPart(const F8E4M3* from, int count) {
    return WidenF8(_mm_maskz_loadu_epi8(First(count), from));
  }
  // The seven bits of size, moved to where f16 has them, are 2^-8 of what they were.
  static F WidenF8(__m128i f8) {
    const __m256i bits = _mm256_and_si256(_mm256_slli_epi16(_mm256_cvtepi8_epi16(f8), 7),
                                          _mm256_set1_epi16(-0x4080));
    const __mmask16 is_nan =
        _mm_cmpeq_epi8_mask(_mm_or_si128(f8, _mm_set1_epi8(-128)), _mm_set1_epi8(-1));
    return _mm512_cvtph_ps(_mm256_mask_mov_epi16(bits, is_nan, _mm256_set1_epi16(0x7e00)));
  }
  static F Widen(__m256i bf16) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16));
  }

  static void Store(float* to, F a) { _mm512_storeu_ps(to, a); }
  static void StorePart(float* to, int count, F a) { _mm512_mask_storeu_ps(to, First(count), a); }
  static __m256i ToFp16(F a) {
    return _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static void Store(Fp16* to, F a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(to), ToFp16(a));
  }
  static void StorePart(Fp16* to, int count, F a) {
    _mm256_mask_storeu_epi16(to, First(count), ToFp16(a));
  }
  static __m128i ToBytes(F a) { return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)); }
  static void StoreInt8(std::int8_t* to, F a) {
    _mm_storeu_si128(reinterpret_cast<__m128i_u*>(to), ToBytes(a));
  }
  static void StoreUint8(std::uint8_t* to, F a) {
    _mm_storeu_si128(reinterpret_cast<__m128i_u*>(to), ToBytes(a));
  }
};

using V = Vector16;

constexpr CpuKernels kVnni = WithFloatKernels<V>({
    .name = "avx512-vnni",
    .matmul = &avx512::kProducts,
    .quantize = QuantizeRow<V>,
    .reads_unsigned = true,
    .reads_groups = true,
});

}  // namespace

constinit const CpuKernels kAvx512VnniKernels = kVnni;

constinit const CpuKernels kAmxInt8Kernels = WithFloatKernels<V>({
    .name = "amx-int8",
    .matmul = &amx::kProducts,
    .quantize = QuantizeRow<V>,
    .reads_unsigned = true,
    .reads_groups = true,
});

// `kernels` with products of halves for prompts.
constexpr CpuKernels WithHalves(CpuKernels kernels) {
  kernels.name = "amx-bf16";
  kernels.prompt_matmul = &amx_bf16::kProducts;
  kernels.to_halves = amx_bf16::ToHalves;
  return kernels;
}
constinit const CpuKernels kAmxBf16Kernels = WithHalves(kVnni);

}  // namespace doppler
