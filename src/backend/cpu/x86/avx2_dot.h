// How avx2_quant.cc and avx_vnni_quant.cc multiply bytes; what else they have is the same. Each has
// functions of its own, as block_parts.h says.
#pragma once

#include <immintrin.h>

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

#ifdef __AVXVNNI__

constexpr bool kHasVnni = true;

// Adds the products of unsigned and signed bytes to `sum`, those of each four neighbours.
__m256i AddProducts(__m256i sum, __m256i unsigned_bytes, __m256i signed_bytes) {
  return _mm256_dpbusd_avx_epi32(sum, unsigned_bytes, signed_bytes);
}

// The same of int16 and each two neighbours.
__m256i AddPairs(__m256i sum, __m256i a, __m256i b) { return _mm256_dpwssd_avx_epi32(sum, a, b); }

#else

constexpr bool kHasVnni = false;

// The pairs are added as int16, which has to hold them.
__m256i AddProducts(__m256i sum, __m256i unsigned_bytes, __m256i signed_bytes) {
  const __m256i pairs = _mm256_maddubs_epi16(unsigned_bytes, signed_bytes);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

__m256i AddPairs(__m256i sum, __m256i a, __m256i b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

#endif

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
