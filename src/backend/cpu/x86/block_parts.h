// Parts of blocks that AVX2 and AVX-512 read alike. Each file of kernels that includes this has
// functions of its own: shared ones would bring one file's instructions to processors without them.
#pragma once

#include <immintrin.h>

#include "backend/cpu/block_factors.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

float LoadFp16(const Byte* from) {
  unsigned short bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  return _cvtsh_ss(bits);
}

__m128i Load16(const void* from) { return _mm_loadu_si128(static_cast<const __m128i_u*>(from)); }
__m256i Load32(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i_u*>(from)); }

// Nibbles of 16 bytes: the low ones first.
__m256i UnpackNibbles16(const Byte* from) {
  const __m128i low = Load16(from);
  const __m256i both =
      _mm256_inserti128_si256(_mm256_castsi128_si256(low), _mm_srli_epi16(low, 4), 1);
  return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

// The sixteen scales of a block of q3_k, six bits each: low nibbles, then two bits of each.
__m128i SignedSubScales(const Byte* packed) {
  const __m128i nibbles = _mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(packed));
  const __m128i low =
      _mm_and_si128(_mm_unpacklo_epi64(nibbles, _mm_srli_epi16(nibbles, 4)), _mm_set1_epi8(15));
  int upper;
  __builtin_memcpy(&upper, packed + 8, sizeof(upper));
  const __m128i high = _mm_and_si128(
      _mm_srlv_epi32(_mm_set1_epi32(upper), _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
  return _mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32));
}

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
