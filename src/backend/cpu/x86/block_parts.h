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

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
