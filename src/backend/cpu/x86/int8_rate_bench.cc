#include <immintrin.h>

#include "backend/int8_rate.h"

namespace doppler {
namespace {

// Products that do not wait for each other: more than an instruction's latency times those that
// begin at once.
constexpr int kChains = 12;

__attribute__((target("avx2"))) int RunAvx2(int rounds) {
  __m256i sums[kChains] = {};
  __m256i weights = _mm256_set1_epi8(3);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (__m256i& sum : sums) {
      __asm__("" : "+x"(weights));  // or it would be multiplied once
      const __m256i pairs = _mm256_maddubs_epi16(weights, weights);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm256_add_epi32(sums[0], sums[i]);
  return _mm256_extract_epi32(sums[0], 0);
}

__attribute__((target("avx2,avxvnni"))) int RunAvxVnni(int rounds) {
  __m256i sums[kChains] = {};
  const __m256i weights = _mm256_set1_epi8(3);
  for (int round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (__m256i& sum : sums) sum = _mm256_dpbusd_avx_epi32(sum, weights, weights);
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm256_add_epi32(sums[0], sums[i]);
  return _mm256_extract_epi32(sums[0], 0);
}

__attribute__((target("avx512f,avx512vnni"))) int RunAvx512Vnni(int rounds) {
  __m512i sums[kChains];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  const __m512i weights = _mm512_set1_epi32(0x03030303);
  for (int round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, weights, weights);
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
  int out[16];
  _mm512_storeu_si512(out, sums[0]);
  return out[0];
}

}  // namespace

Int8Kernel Int8Products(CpuPath path) {
  switch (path) {
    case CpuPath::kAvx2:
      return {RunAvx2, 32 * kChains};
    case CpuPath::kAvxVnni:
      return {RunAvxVnni, 32 * kChains};
    case CpuPath::kAvx512Vnni:
    case CpuPath::kAmxInt8:
    case CpuPath::kAmxBf16:
      return {RunAvx512Vnni, 64 * kChains};
    default:
      return CompiledInt8Products();
  }
}

}  // namespace doppler
