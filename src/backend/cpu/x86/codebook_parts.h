// Parts of the formats with codebooks that AVX2 and AVX-512 read alike; see block_parts.h on why
// each file of kernels has functions of its own.
#pragma once

#include <cstdint>

#include <immintrin.h>

#include "backend/cpu/block_factors.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

unsigned LoadWord(const Byte* from) {
  unsigned word;
  __builtin_memcpy(&word, from, sizeof(word));
  return word;
}
std::uint64_t LoadLong(const Byte* from) {
  std::uint64_t word;
  __builtin_memcpy(&word, from, sizeof(word));
  return word;
}
__m128i LoadEight(const Byte* from) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(from));
}

// Seven sign bits in each byte; the eighth makes their number even.
__m256i EvenSigns(__m256i sevens) {
  // 128 for nibbles with an odd number of ones.
  const __m256i odd = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i low = _mm256_shuffle_epi8(odd, _mm256_and_si256(sevens, nibble));
  const __m256i high =
      _mm256_shuffle_epi8(odd, _mm256_and_si256(_mm256_srli_epi16(sevens, 4), nibble));
  return _mm256_or_si256(sevens, _mm256_xor_si256(low, high));
}

// The four lowest fields of seven bits of each word, as its bytes.
__m256i SpreadSevens(__m256i words) {
  const __m256i twos =
      _mm256_or_si256(_mm256_and_si256(words, _mm256_set1_epi32(0x3fff)),
                      _mm256_and_si256(_mm256_slli_epi32(words, 2), _mm256_set1_epi32(0x3fff0000)));
  return _mm256_or_si256(
      _mm256_and_si256(twos, _mm256_set1_epi32(0x007f007f)),
      _mm256_and_si256(_mm256_slli_epi32(twos, 1), _mm256_set1_epi32(0x7f007f00)));
}

// The lower nibbles of bytes and the upper ones in turn.
__m128i NibblesInTurn(__m128i bytes) {
  const __m128i both = _mm_unpacklo_epi8(bytes, _mm_srli_epi16(bytes, 4));
  return _mm_and_si128(both, _mm_set1_epi8(15));
}

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
