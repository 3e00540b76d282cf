// The tables for AVX2, FMA and F16C, and for AVX-VNNI beside these: eight lanes, tails through a
// small buffer.

#include <immintrin.h>

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/vector_kernels.h"
#include "backend/cpu/vector_table.h"

namespace doppler {
namespace {

struct Vector8 {
  using F = __m256;
  static constexpr int kLanes = 8;
  template <class T>
  static constexpr bool kInPanels = true;
  static constexpr int kBlockTokens = 3;
  static constexpr int kPanelRows = 4;
  static constexpr int kPanelTokens = 3;
  static constexpr float kF8Factor = 256;

  static F InRegister(F a) {
    __asm__("" : "+x"(a));
    return a;
  }
  static F Zero() { return _mm256_setzero_ps(); }
  static F Set1(float value) { return _mm256_set1_ps(value); }
  static F Add(F a, F b) { return _mm256_add_ps(a, b); }
  static F Sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F Mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F Div(F a, F b) { return _mm256_div_ps(a, b); }
  static F Min(F a, F b) { return _mm256_min_ps(a, b); }
  static F Max(F a, F b) { return _mm256_max_ps(a, b); }
  static F Abs(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
  static F Fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F Round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F PowerOfTwo(F n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  }
  static float Sum(F a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float Largest(F a) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  static F Load(const float* from) { return _mm256_loadu_ps(from); }
  static F Load(const Fp16* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from)));
  }
  static F Load(const Bf16* from) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  // The seven bits of size, moved to where f16 has them, are 2^-8 of what they were.
  static F Load(const F8E4M3* from) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(from));
    const __m128i bits =
        _mm_and_si128(_mm_slli_epi16(_mm_cvtepi8_epi16(bytes), 7), _mm_set1_epi16(-0x4080));
    const __m128i largest = _mm_set1_epi16(0x3f80);
    const __m128i is_nan = _mm_cmpeq_epi16(_mm_and_si128(bits, largest), largest);
    const __m128i nan = _mm_and_si128(is_nan, _mm_set1_epi16(0x7c00));
    return _mm256_cvtph_ps(_mm_or_si128(bits, nan));
  }
  template <class T>
  static F LoadPart(const T* from, int count) {
    T buffer[kLanes] = {};
    for (int i = 0; i < count; ++i) buffer[i] = from[i];
    return Load(buffer);
  }

  static void Store(float* to, F a) { _mm256_storeu_ps(to, a); }
  static void Store(Fp16* to, F a) {
    _mm_storeu_si128(reinterpret_cast<__m128i_u*>(to),
                     _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  template <class T>
  static void StorePart(T* to, int count, F a) {
    T buffer[kLanes];
    Store(buffer, a);
    for (int i = 0; i < count; ++i) to[i] = buffer[i];
  }
  static __m128i ToInt16(F a) {
    const __m256i words = _mm256_cvtps_epi32(a);
    return _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  }
  static void StoreInt8(std::int8_t* to, F a) {
    const __m128i halves = ToInt16(a);
    _mm_storel_epi64(reinterpret_cast<__m128i_u*>(to), _mm_packs_epi16(halves, halves));
  }
  static void StoreInt16(std::int16_t* to, F a) {
    _mm_storeu_si128(reinterpret_cast<__m128i_u*>(to), ToInt16(a));
  }
};

using V = Vector8;

constexpr CpuKernels WithProducts(const char* name, const MatMulKernels* products) {
  return WithFloatKernels<V>({.name = name,
                              .matmul = products,
                              .quantize = QuantizeRow<V>,
                              .reads_whole_values = true,
                              .reads_groups = true});
}

}  // namespace

constinit const CpuKernels kAvx2Kernels = WithProducts("avx2", &avx2::kProducts);
constinit const CpuKernels kAvxVnniKernels = WithProducts("avx-vnni", &avx_vnni::kProducts);

}  // namespace doppler
