// More block formats as avx512_formats.h has them: those without a codebook. Only avx512_quant.cc
// includes this.
#pragma once

#include <immintrin.h>

#include "backend/cpu/x86/avx512_formats.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// Eight lanes, and zeros.
__m512 EightScales(__m256i whole, float factor) {
  return _mm512_zextps256_ps512(_mm256_mul_ps(_mm256_cvtepi32_ps(whole), _mm256_set1_ps(factor)));
}

// Sixteen bytes as floats, times `factor`.
__m512 SixteenScales(__m128i signed_bytes, float factor) {
  return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(signed_bytes)),
                       _mm512_set1_ps(factor));
}

// Formats of 32 values that begin with an f16 scale and an f16 minimum.
template <class Block, int kBytes>
struct MinimumBlocks : SmallBlocks<Block, kBytes> {
  static constexpr int kZero = 0;
  static constexpr bool kHasOffsets = true;

  static Head Load(const Byte* chunk, int runs) {
    alignas(32) unsigned words[8] = {};
    if (runs == 8) {  // nearly always, and then without a loop
      for (int run = 0; run < 8; ++run) __builtin_memcpy(words + run, chunk + run * kBytes, 4);
    } else {
      for (int run = 0; run < runs; ++run) __builtin_memcpy(words + run, chunk + run * kBytes, 4);
    }
    const __m256i both = _mm256_load_si256(reinterpret_cast<const __m256i*>(words));
    const __m128i scales = _mm256_cvtepi32_epi16(both);
    const __m128i minimums = _mm256_cvtepi32_epi16(_mm256_srli_epi32(both, 16));
    return {_mm512_zextps256_ps512(_mm256_cvtph_ps(scales)),
            _mm512_zextps256_ps512(_mm256_cvtph_ps(minimums))};
  }
};

struct Q41 : MinimumBlocks<Q41, Q41Layout::kBytes> {
  static_assert(Q41Layout::kScale == 0 && Q41Layout::kMinimum == 2);
  static __m256i Unpack(const Byte* block) { return UnpackNibbles16(block + Q41Layout::kNibbles); }
};

__m256i FiveBits(const Byte* nibbles, const Byte* high_bits) {
  unsigned high;
  __builtin_memcpy(&high, high_bits, sizeof(high));
  const __m256i low = UnpackNibbles16(nibbles);
  return _mm256_mask_add_epi8(low, high, low, _mm256_set1_epi8(16));
}

struct Q50 : Fp16Blocks<Q50, Q50Layout::kBytes> {
  static_assert(Q50Layout::kScale == 0);
  static constexpr int kZero = 16;
  static __m256i Unpack(const Byte* block) {
    return FiveBits(block + Q50Layout::kNibbles, block + Q50Layout::kHighBits);
  }
};

struct Q51 : MinimumBlocks<Q51, Q51Layout::kBytes> {
  static_assert(Q51Layout::kScale == 0 && Q51Layout::kMinimum == 2);
  static __m256i Unpack(const Byte* block) {
    return FiveBits(block + Q51Layout::kNibbles, block + Q51Layout::kHighBits);
  }
};

// Two bits of each value: the pair's two runs have neighbouring bits of the same 32 bytes.
__m512i TwoBits(const Byte* bits, int pair) {
  const __m512i run = LoadTwice(bits + 32 * (pair / 2));
  const __m512i shifts = pair % 2 != 0 ? IntHalves(4, 6) : IntHalves(0, 2);
  return _mm512_and_si512(_mm512_srlv_epi32(run, shifts), _mm512_set1_epi8(3));
}

struct Q2K : SuperBlocks<16, Q2KLayout::kBytes> {
  static Head Load(const Byte* block, int) {
    const __m128i bytes = Load16(block + Q2KLayout::kSubScales);
    const __m128i low = _mm_and_si128(bytes, _mm_set1_epi8(15));
    const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
    return {SixteenScales(low, LoadFp16(block + Q2KLayout::kScale)),
            SixteenScales(high, -LoadFp16(block + Q2KLayout::kMinimum))};
  }
  static __m512i Values(const Byte* block, int pair) {
    return TwoBits(block + Q2KLayout::kBits, pair);
  }
};

struct Q3K : SuperBlocks<16, Q3KLayout::kBytes, 4> {
  static Head Load(const Byte* block, int) {
    const Byte* packed = block + Q3KLayout::kSubScales;
    const __m512 scales =
        SixteenScales(SignedSubScales(packed), LoadFp16(block + Q3KLayout::kScale));
    return {scales, _mm512_setzero_ps()};
  }
  static __m512i Values(const Byte* block, int pair) {
    const __m512i low = TwoBits(block + Q3KLayout::kBits, pair);
    const __m512i high_bits = LoadTwice(block + Q3KLayout::kHighBits);
    const int bit = 0x01010101 << (2 * pair);
    const __mmask64 high = _mm512_test_epi8_mask(
        high_bits, IntHalves(bit, static_cast<int>(static_cast<unsigned>(bit) << 1)));
    return _mm512_mask_add_epi8(low, high, low, _mm512_set1_epi8(4));
  }
};

struct Iq4Xs : SuperBlocks<32, Iq4XsLayout::kBytes, 127> {
  static Head Load(const Byte* block, int) {
    int low;
    unsigned short high;
    __builtin_memcpy(&low, block + Iq4XsLayout::kLowScales, sizeof(low));
    __builtin_memcpy(&high, block + Iq4XsLayout::kHighScales, sizeof(high));
    const __m256i runs = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i low_bits =
        _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(low), _mm256_slli_epi32(runs, 2)),
                         _mm256_set1_epi32(15));
    const __m256i high_bits =
        _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(high), _mm256_slli_epi32(runs, 1)),
                         _mm256_set1_epi32(3));
    const __m256i six_bits = _mm256_or_si256(low_bits, _mm256_slli_epi32(high_bits, 4));
    return {EightScales(_mm256_sub_epi32(six_bits, _mm256_set1_epi32(32)),
                        LoadFp16(block + Iq4XsLayout::kScale)),
            _mm512_setzero_ps()};
  }
  static __m512i Values(const Byte* block, int pair) {
    const __m512i bytes = _mm512_zextsi256_si512(Load32(block + Iq4XsLayout::kNibbles + 32 * pair));
    // Each run's 16 bytes twice, for their low and their high nibbles.
    const __m512i twice =
        _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3), bytes);
    const __m512i shifts = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
    const __m512i nibbles =
        _mm512_and_si512(_mm512_srlv_epi64(twice, shifts), _mm512_set1_epi8(15));
    const __m128i levels = _mm_add_epi8(Load16(kIq4Levels), _mm_set1_epi8(kZero));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(levels), nibbles);
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
