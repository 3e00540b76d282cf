// The block formats of 256 values as AVX2 reads them, 32 values at a time. Only avx2_products.h
// includes this.
//
// A Format has what avx2_row_product.h says, but for
//   kBytes             of a block, a chunk
//   Load(block, head)  of the whole of it
#pragma once

#include <immintrin.h>

#include "backend/block_layout.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/block_parts.h"
#include "backend/levels.h"

namespace doppler {
// Functions of one file, as in block_parts.h.
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// The low or high nibbles of 32 bytes.
__m256i Nibbles32(const Byte* from, bool high) {
  const __m256i bytes = Load32(from);
  return _mm256_and_si256(high ? _mm256_srli_epi16(bytes, 4) : bytes, _mm256_set1_epi8(15));
}

// 32 weights. Signed ones have sizes, and numbers or zeros of their sign.
struct Weights {
  __m256i sizes;
  __m256i signs;
};
Weights Unsigned(__m256i values) { return {values, values}; }
Weights Signed(__m256i values) { return {_mm256_abs_epi8(values), values}; }

// What a block unpacks its scales to.
struct ScaleHead {
  float scales[16];
  float offsets[16];  // times the activations' sums
};

__m256 EightScales(__m256i whole, float factor) {
  return _mm256_mul_ps(_mm256_cvtepi32_ps(whole), _mm256_set1_ps(factor));
}

// Sixteen signed bytes as floats, times `factor`.
void StoreSixteen(__m128i bytes, float factor, float* to) {
  _mm256_storeu_ps(to, EightScales(_mm256_cvtepi8_epi32(bytes), factor));
  const __m128i upper = _mm_unpackhi_epi64(bytes, bytes);
  _mm256_storeu_ps(to + 8, EightScales(_mm256_cvtepi8_epi32(upper), factor));
}

// Offsets of weights around `zero`.
void StoreZero(int zero, ScaleHead& head) {
  const __m256 factor = _mm256_set1_ps(static_cast<float>(-zero));
  for (int i = 0; i < 16; i += 8) {
    _mm256_storeu_ps(head.offsets + i, _mm256_mul_ps(_mm256_loadu_ps(head.scales + i), factor));
  }
}

// Formats with a scale for each 32 values, and for each 16.
struct Runs32 {
  static constexpr int kRun = 32;
};
struct Runs16 {
  static constexpr int kRun = 16;
};

// Unsigned formats, with an offset for each scale.
template <class H>
struct Offsets32 : Runs32 {
  static constexpr bool kSigned = false;
  using Head = H;
};
template <class H>
struct Offsets16 : Runs16 {
  static constexpr bool kSigned = false;
  using Head = H;
};

// A format as avx2_row_product.h reads it.
template <class Format>
struct SuperBlocks : Format {
  static constexpr bool kReadsResiduals = false;
  static constexpr std::size_t kChunkBytes = Format::kBytes;
  static void Load(const Byte* block, int, typename Format::Head& head) {
    Format::Load(block, head);
  }
};

// What q4_k and q5_k share.
struct SubScales : Offsets32<ScaleHead> {
  static void LoadPacked(const Byte* block, const Byte* packed, Head& head) {
    const SubScaleBytes bytes = UnpackSubScales(packed);
    const __m128i scales = _mm_cvtsi64_si128(static_cast<long long>(bytes.scales));
    const __m128i minimums = _mm_cvtsi64_si128(static_cast<long long>(bytes.minimums));
    _mm256_storeu_ps(head.scales, EightScales(_mm256_cvtepu8_epi32(scales), LoadFp16(block)));
    _mm256_storeu_ps(head.offsets,
                     EightScales(_mm256_cvtepu8_epi32(minimums), -LoadFp16(block + 2)));
  }
};

struct Q4K : SubScales {
  static constexpr int kBytes = Q4KLayout::kBytes;
  static constexpr int kAddable = 8;  // of 15 * 127 * 2
  static void Load(const Byte* block, Head& head) {
    LoadPacked(block, block + Q4KLayout::kSubScales, head);
  }
  static Weights Values(const Byte* block, const Head&, int sub) {
    return Unsigned(Nibbles32(block + Q4KLayout::kNibbles + 32 * (sub / 2), sub % 2 != 0));
  }
};

struct Q5K : SubScales {
  static constexpr int kBytes = Q5KLayout::kBytes;
  static constexpr int kAddable = 4;  // of 31 * 127 * 2
  static void Load(const Byte* block, Head& head) {
    LoadPacked(block, block + Q5KLayout::kSubScales, head);
  }
  static Weights Values(const Byte* block, const Head&, int sub) {
    const __m256i low = Nibbles32(block + Q5KLayout::kNibbles + 32 * (sub / 2), sub % 2 != 0);
    const __m256i bits = _mm256_srli_epi16(Load32(block + Q5KLayout::kHighBits), sub);
    const __m256i high = _mm256_slli_epi16(_mm256_and_si256(bits, _mm256_set1_epi8(1)), 4);
    return Unsigned(_mm256_or_si256(low, high));
  }
};

struct Q6K : Offsets16<ScaleHead> {
  static constexpr int kBytes = Q6KLayout::kBytes;
  static constexpr int kAddable = 2;  // of 63 * 127 * 2
  static void Load(const Byte* block, Head& head) {
    const __m128i bytes = Load16(block + Q6KLayout::kSubScales);
    const float scale = LoadFp16(block + Q6KLayout::kScale);
    StoreSixteen(bytes, scale, head.scales);
    StoreZero(32, head);
  }
  static Weights Values(const Byte* block, const Head&, int sub) {
    const int half = sub / 4;
    const int quarter = sub % 4;
    const __m256i low =
        Nibbles32(block + Q6KLayout::kNibbles + 64 * half + 32 * (quarter % 2), quarter >= 2);
    const __m256i bits = Load32(block + Q6KLayout::kHighBits + 32 * half);
    const __m256i high = quarter < 2 ? _mm256_slli_epi16(bits, 4 - 2 * quarter)
                                     : _mm256_srli_epi16(bits, 2 * quarter - 4);
    return Unsigned(_mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(0x30))));
  }
};

// Two bits of each of 32 values.
__m256i TwoBits(const Byte* bits, int sub) {
  const __m256i shifted = _mm256_srli_epi16(Load32(bits + 32 * (sub / 4)), 2 * (sub % 4));
  return _mm256_and_si256(shifted, _mm256_set1_epi8(3));
}

struct Q2K : Offsets16<ScaleHead> {
  static constexpr int kBytes = Q2KLayout::kBytes;
  static constexpr int kAddable = 4;  // of 3 * 127 * 2
  static void Load(const Byte* block, Head& head) {
    const __m128i bytes = Load16(block + Q2KLayout::kSubScales);
    const __m128i nibble = _mm_set1_epi8(15);
    StoreSixteen(_mm_and_si128(bytes, nibble), LoadFp16(block + Q2KLayout::kScale), head.scales);
    StoreSixteen(_mm_and_si128(_mm_srli_epi16(bytes, 4), nibble),
                 -LoadFp16(block + Q2KLayout::kMinimum), head.offsets);
  }
  static Weights Values(const Byte* block, const Head&, int sub) {
    return Unsigned(TwoBits(block + Q2KLayout::kBits, sub));
  }
};

struct Q3K : Offsets16<ScaleHead> {
  static constexpr int kBytes = Q3KLayout::kBytes;
  static constexpr int kAddable = 4;  // of 7 * 127 * 2
  static void Load(const Byte* block, Head& head) {
    const Byte* packed = block + Q3KLayout::kSubScales;
    const float scale = LoadFp16(block + Q3KLayout::kScale);
    StoreSixteen(SignedSubScales(packed), scale, head.scales);
    StoreZero(4, head);
  }
  static Weights Values(const Byte* block, const Head&, int sub) {
    const __m256i bits = _mm256_srli_epi16(Load32(block + Q3KLayout::kHighBits), sub);
    const __m256i high = _mm256_slli_epi16(_mm256_and_si256(bits, _mm256_set1_epi8(1)), 2);
    return Unsigned(_mm256_or_si256(TwoBits(block + Q3KLayout::kBits, sub), high));
  }
};

// What nibbles of 16 bytes stand for in a table of 16 levels.
__m256i Levels(const Byte* nibbles, const signed char* levels) {
  const __m256i table = _mm256_broadcastsi128_si256(Load16(levels));
  return _mm256_shuffle_epi8(table, UnpackNibbles16(nibbles));
}

struct Iq4Xs : Runs32 {
  static constexpr int kBytes = Iq4XsLayout::kBytes;
  static constexpr bool kSigned = true;
  struct Head {
    float scales[8];
  };
  static void Load(const Byte* block, Head& head) {
    int low;
    unsigned short high;
    __builtin_memcpy(&low, block + Iq4XsLayout::kLowScales, sizeof(low));
    __builtin_memcpy(&high, block + Iq4XsLayout::kHighScales, sizeof(high));
    const __m256i low_bits = _mm256_and_si256(
        _mm256_srlv_epi32(_mm256_set1_epi32(low), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28)),
        _mm256_set1_epi32(15));
    const __m256i high_bits = _mm256_and_si256(
        _mm256_srlv_epi32(_mm256_set1_epi32(high), _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14)),
        _mm256_set1_epi32(3));
    const __m256i six_bits = _mm256_or_si256(low_bits, _mm256_slli_epi32(high_bits, 4));
    _mm256_storeu_ps(head.scales, EightScales(_mm256_sub_epi32(six_bits, _mm256_set1_epi32(32)),
                                              LoadFp16(block + Iq4XsLayout::kScale)));
  }
  static Weights Values(const Byte* block, const Head&, int sub) {
    return Signed(Levels(block + Iq4XsLayout::kNibbles + 16 * sub, kIq4Levels));
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
