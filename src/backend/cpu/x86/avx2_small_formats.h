// The block formats of 32 values with one scale as AVX2 reads them. Only avx2_quant.cc includes
// this.
//
// A Format has
//   kBytes             of a block
//   kHasMinimum        whether values are unsigned and a Minimum(block) is added to each
//   kReadsResiduals    whether the activations have 16 bits
//   Scale(block), Values(block)
#pragma once

#include <immintrin.h>

#include "backend/cpu/x86/avx2_formats.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

struct PlainBlocks {
  static constexpr bool kHasMinimum = false;
  static constexpr bool kReadsResiduals = false;
  static float Scale(const Byte* block) { return LoadFp16(block); }
};

struct MinimumBlocks : PlainBlocks {
  static constexpr bool kHasMinimum = true;
  static float Minimum(const Byte* block) { return LoadFp16(block + 2); }
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
  static_assert(Int4G32Layout::kBytes == kBytes && Int4G32Layout::kNibbles == Q40Layout::kNibbles);
  static float Scale(const Byte* block) { return LoadBf16(block + Int4G32Layout::kScale); }
};

struct Mxfp4 : PlainBlocks {
  static constexpr bool kReadsResiduals = true;
  static constexpr int kBytes = Mxfp4Layout::kBytes;
  static float Scale(const Byte* block) { return LoadE8M0(block + Mxfp4Layout::kExponent); }
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
