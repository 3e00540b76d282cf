// The block formats of 32 values with one scale as AVX2 reads them. Only avx2_products.h includes
// this.
//
// A Block has
//   kBytes             of a block
//   kHasMinimum        whether values are unsigned and the f16 minimum of a block is added to each
//   kReadsResiduals    whether the activations have 16 bits
//   Scales(halves)     of eight blocks, of which two bytes each are given: those they begin with
//   Values(block)
#pragma once

#include <immintrin.h>

#include "backend/cpu/x86/avx2_formats.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// Two bytes of each of `count` blocks, zeros after them.
template <int kBytes>
__m128i HalvesOfBlocks(const Byte* first, int count) {
  const auto half = [first](int block) {
    short bits;
    __builtin_memcpy(&bits, first + block * kBytes, sizeof(bits));
    return bits;
  };
  if (count == 8) {
    return _mm_setr_epi16(half(0), half(1), half(2), half(3), half(4), half(5), half(6), half(7));
  }
  short halves[8] = {};
  for (int block = 0; block < count; ++block) halves[block] = half(block);
  return Load16(halves);
}

// Blocks as avx2_row_product.h reads them: a chunk is eight of them, or what is left of the row.
template <class Block>
struct SmallBlocks : Block, Runs32 {
  static constexpr bool kSigned = !Block::kHasMinimum;
  static constexpr std::size_t kChunkBytes = 8 * Block::kBytes;
  struct Head {
    float scales[8];
    float offsets[8];
  };
  static void Load(const Byte* chunk, int blocks, Head& head) {
    _mm256_storeu_ps(head.scales, Block::Scales(HalvesOfBlocks<Block::kBytes>(chunk, blocks)));
    if constexpr (Block::kHasMinimum) {
      _mm256_storeu_ps(head.offsets,
                       _mm256_cvtph_ps(HalvesOfBlocks<Block::kBytes>(chunk + 2, blocks)));
    }
  }
  static Weights Values(const Byte* chunk, const Head&, int sub) {
    const __m256i values = Block::Values(chunk + sub * Block::kBytes);
    return kSigned ? Signed(values) : Unsigned(values);
  }
};

__m256 WidenBf16(__m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

// 2^(exponent - 128), as LoadE8M0.
__m256 PowersOfE8M0(__m256i exponents) {
  const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(exponents, _mm256_set1_epi32(1)), 23);
  const __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), exponents);
  const __m256i is_normal = _mm256_cmpgt_epi32(exponents, _mm256_set1_epi32(1));
  return _mm256_castsi256_ps(_mm256_blendv_epi8(small, normal, is_normal));
}

struct PlainBlocks {
  static constexpr bool kHasMinimum = false;
  static constexpr bool kReadsResiduals = false;
  static __m256 Scales(__m128i halves) { return _mm256_cvtph_ps(halves); }
};

struct MinimumBlocks : PlainBlocks {
  static constexpr bool kHasMinimum = true;
};

struct Q80 : PlainBlocks {
  static_assert(Q80Layout::kScale == 0);
  static constexpr int kBytes = Q80Layout::kBytes;
  static __m256i Values(const Byte* block) { return Load32(block + Q80Layout::kValues); }
};

struct Q40 : PlainBlocks {
  static_assert(Q40Layout::kScale == 0);
  static constexpr int kBytes = Q40Layout::kBytes;
  static __m256i Values(const Byte* block) {
    return _mm256_sub_epi8(UnpackNibbles16(block + Q40Layout::kNibbles), _mm256_set1_epi8(8));
  }
};

struct Int4G32 : Q40 {
  static_assert(Int4G32Layout::kScale == 0 && Int4G32Layout::kBytes == kBytes &&
                Int4G32Layout::kNibbles == Q40Layout::kNibbles);
  static __m256 Scales(__m128i halves) { return WidenBf16(halves); }
};

struct Mxfp4 : PlainBlocks {
  static_assert(Mxfp4Layout::kExponent == 0);
  static constexpr bool kReadsResiduals = true;
  static constexpr int kBytes = Mxfp4Layout::kBytes;
  static __m256 Scales(__m128i halves) {
    return PowersOfE8M0(_mm256_and_si256(_mm256_cvtepu16_epi32(halves), _mm256_set1_epi32(255)));
  }
  static __m256i Values(const Byte* block) {
    return Levels(block + Mxfp4Layout::kNibbles, kFp4Levels);
  }
};

struct Iq4Nl : PlainBlocks {
  static_assert(Iq4NlLayout::kScale == 0);
  static constexpr int kBytes = Iq4NlLayout::kBytes;
  static __m256i Values(const Byte* block) {
    return Levels(block + Iq4NlLayout::kNibbles, kIq4Levels);
  }
};

struct Q41 : MinimumBlocks {
  static constexpr int kAddable = 8;  // of 15 * 127 * 2
  static_assert(Q41Layout::kScale == 0 && Q41Layout::kMinimum == 2);
  static constexpr int kBytes = Q41Layout::kBytes;
  static __m256i Values(const Byte* block) { return UnpackNibbles16(block + Q41Layout::kNibbles); }
};

// A byte for each bit of four bytes that repeat: -1 where it is set.
__m256i BytesOfBits(__m256i bits) {
  const __m256i each = _mm256_shuffle_epi8(
      bits, _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201u));
  return _mm256_cmpeq_epi8(_mm256_and_si256(each, bit), bit);
}

// -1 in the bytes of values whose fifth bit is set.
__m256i HighBits(const Byte* from) {
  int bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  return BytesOfBits(_mm256_set1_epi32(bits));
}

struct Q50 : PlainBlocks {
  static_assert(Q50Layout::kScale == 0);
  static constexpr int kBytes = Q50Layout::kBytes;
  static __m256i Values(const Byte* block) {
    // 16 less, unless the fifth bit is set.
    const __m256i less = _mm256_andnot_si256(HighBits(block + Q50Layout::kHighBits),
                                             _mm256_set1_epi8(static_cast<char>(0xf0)));
    return _mm256_or_si256(UnpackNibbles16(block + Q50Layout::kNibbles), less);
  }
};

struct Q51 : MinimumBlocks {
  static constexpr int kAddable = 4;  // of 31 * 127 * 2
  static_assert(Q51Layout::kScale == 0 && Q51Layout::kMinimum == 2);
  static constexpr int kBytes = Q51Layout::kBytes;
  static __m256i Values(const Byte* block) {
    const __m256i more =
        _mm256_and_si256(HighBits(block + Q51Layout::kHighBits), _mm256_set1_epi8(16));
    return _mm256_or_si256(UnpackNibbles16(block + Q51Layout::kNibbles), more);
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
