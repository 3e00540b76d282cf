// The block formats in groups of sixteen rows, as avx2_group_sums.h says. Only
// avx2_products.h includes this.
#pragma once

#include <immintrin.h>

#include "backend/cpu/x86/avx2_group_sums.h"
#include "backend/cpu/x86/avx2_small_formats.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

constexpr int kWordsOfHalf = 32;  // bytes of four weights of each of eight rows

__m256i LowNibbles(__m256i bytes) { return _mm256_and_si256(bytes, _mm256_set1_epi8(15)); }
__m256i HighNibbles(__m256i bytes) { return LowNibbles(_mm256_srli_epi16(bytes, 4)); }

// Blocks of 32 values with a scale of 16 bits.
template <class Row>
struct SmallGroups {
  static constexpr int kRun = 32;
  static constexpr int kBytes = Row::kBytes;
  static constexpr int kBlocks = 8;
  static constexpr bool kReadsResiduals = Row::kReadsResiduals;
  static constexpr bool kSigned = false;
  static constexpr bool kHasOffsets = false;
  static constexpr bool kFetchesAhead = true;
  static constexpr int kZero = 0;

  static void Load(const GroupChunk& chunk, GroupScales& out) {
    for (int run = 0; run < chunk.blocks; ++run) {
      const Byte* scales = chunk.Units<0, 2>(run, 0);
      for (int half = 0; half < 2; ++half) {
        out.scales[run][half] = Row::Scales(Load16(scales + 16 * half));
      }
    }
  }
};

// Blocks of signed bytes. VNNI takes them unsigned.
template <class Row>
struct SignedGroups : SmallGroups<Row> {
  static constexpr bool kSigned = !kHasVnni;
  static constexpr int kZero = kHasVnni ? 128 : 0;
  static constexpr int kAddable = 1;
  static __m256i Stored(__m256i bytes) {
    return kHasVnni ? _mm256_xor_si256(bytes, _mm256_set1_epi8(-128)) : bytes;
  }
};

struct GroupedQ80 : SignedGroups<Q80> {
  static constexpr bool kFetchesAhead = false;
  static __m256i Word(const GroupChunk& chunk, int run, int half, int i) {
    return Stored(Load32(chunk.Units<Q80Layout::kValues, 32>(run, 4 * i) + kWordsOfHalf * half));
  }
};

// The nibbles of a run.
template <int kAt>
__m256i NibbleWord(const GroupChunk& chunk, int run, int half, int i) {
  const __m256i bytes = Load32(chunk.Units<kAt, 16>(run, 4 * (i % 4)) + kWordsOfHalf * half);
  return i < 4 ? LowNibbles(bytes) : HighNibbles(bytes);
}

template <class Row>
struct NibbleGroups : SmallGroups<Row> {
  static constexpr int kZero = 8;
  static constexpr int kAddable = 8;  // of 15 * 127 * 2
  static __m256i Word(const GroupChunk& chunk, int run, int half, int i) {
    return NibbleWord<Q40Layout::kNibbles>(chunk, run, half, i);
  }
};
using GroupedQ40 = NibbleGroups<Q40>;
using GroupedInt4G32 = NibbleGroups<Int4G32>;

// Levels of nibbles in place.
__m256i LevelWord(__m128i levels, __m256i nibbles) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(levels), nibbles);
}

struct GroupedIq4Nl : SignedGroups<Iq4Nl> {
  static __m256i Word(const GroupChunk& chunk, int run, int half, int i) {
    return LevelWord(_mm256_castsi256_si128(Stored(_mm256_castsi128_si256(Load16(kIq4Levels)))),
                     NibbleWord<Iq4NlLayout::kNibbles>(chunk, run, half, i));
  }
};

struct GroupedMxfp4 : SmallGroups<Mxfp4> {
  static constexpr int kZero = 12;    // makes the least level 0
  static constexpr int kAddable = 4;  // of 24 * 128 * 2
  static void Load(const GroupChunk& chunk, GroupScales& out) {
    for (int run = 0; run < chunk.blocks; ++run) {
      const Byte* exponents = chunk.Units<Mxfp4Layout::kExponent, 1>(run, 0);
      for (int half = 0; half < 2; ++half) {
        const __m128i bytes =
            _mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(exponents + 8 * half));
        out.scales[run][half] = PowersOfE8M0(_mm256_cvtepu8_epi32(bytes));
      }
    }
  }
  static __m256i Word(const GroupChunk& chunk, int run, int half, int i) {
    return LevelWord(_mm_add_epi8(Load16(kFp4Levels), _mm_set1_epi8(kZero)),
                     NibbleWord<Mxfp4Layout::kNibbles>(chunk, run, half, i));
  }
};

// Formats of 256 values.
struct SuperGroups {
  static constexpr int kBlocks = 1;
  static constexpr bool kReadsResiduals = false;
  static constexpr bool kSigned = false;
  static constexpr bool kHasOffsets = true;
  static constexpr bool kFetchesAhead = true;
  static constexpr int kZero = 0;
};

// Eight rows' f16.
__m256 HalvesOfRows(const Byte* from, int half) {
  return _mm256_cvtph_ps(Load16(from + 16 * half));
}

// Byte `i` of each lane as float, times `factor`.
__m256 ScaleBytes(__m256i words, int i, __m256 factor) {
  const __m256i bytes = _mm256_and_si256(_mm256_srli_epi32(words, 8 * i), _mm256_set1_epi32(255));
  return _mm256_mul_ps(_mm256_cvtepi32_ps(bytes), factor);
}

// To the left, or to the right.
__m256i ShiftBy(__m256i a, int left) {
  return left >= 0 ? _mm256_slli_epi16(a, left) : _mm256_srli_epi16(a, -left);
}

// What q4_k and q5_k share: UnpackSubScales, a row in each lane.
template <class Layout>
struct SubScaleGroups : SuperGroups {
  static constexpr int kRun = 32;
  static constexpr int kBytes = Layout::kBytes;

  static void LoadHalf(const GroupChunk& chunk, int half, GroupScales& out) {
    const Byte* packed = chunk.Units<Layout::kSubScales, 12>(0, 0) + kWordsOfHalf * half;
    const __m256i first = Load32(packed);
    const __m256i second = Load32(packed + 64);
    const __m256i third = Load32(packed + 128);
    const __m256i six_bits = _mm256_set1_epi8(0x3f);
    const __m256i upper = _mm256_set1_epi8(0x30);
    const __m256i scales[2] = {
        _mm256_and_si256(first, six_bits),
        _mm256_or_si256(LowNibbles(third), _mm256_and_si256(_mm256_srli_epi32(first, 2), upper))};
    const __m256i minimums[2] = {
        _mm256_and_si256(second, six_bits),
        _mm256_or_si256(HighNibbles(third), _mm256_and_si256(_mm256_srli_epi32(second, 2), upper))};
    const __m256 scale = HalvesOfRows(chunk.Units<Layout::kScale, 2>(0, 0), half);
    const __m256 minimum = _mm256_sub_ps(
        _mm256_set1_ps(-0.0f), HalvesOfRows(chunk.Units<Layout::kMinimum, 2>(0, 0), half));
    for (int run = 0; run < 8; ++run) {
      out.scales[run][half] = ScaleBytes(scales[run / 4], run % 4, scale);
      out.offsets[run][half] = ScaleBytes(minimums[run / 4], run % 4, minimum);
    }
  }
  static void Load(const GroupChunk& chunk, GroupScales& out) {
    for (int half = 0; half < 2; ++half) LoadHalf(chunk, half, out);
  }
  static __m256i LowBits(const GroupChunk& chunk, int run, int half, int i) {
    const __m256i bytes =
        Load32(chunk.Units<Layout::kNibbles, 128>(0, 32 * (run / 2) + 4 * i) + kWordsOfHalf * half);
    return run % 2 == 0 ? LowNibbles(bytes) : HighNibbles(bytes);
  }
};

struct GroupedQ4K : SubScaleGroups<Q4KLayout> {
  static constexpr int kAddable = 8;  // of 15 * 127 * 2
  static __m256i Word(const GroupChunk& chunk, int run, int half, int i) {
    return LowBits(chunk, run, half, i);
  }
};

struct GroupedQ5K : SubScaleGroups<Q5KLayout> {
  static constexpr int kAddable = 4;  // of 31 * 127 * 2
  static __m256i Word(const GroupChunk& chunk, int run, int half, int i) {
    const Byte* from = chunk.Units<Q5KLayout::kHighBits, 32>(0, 4 * i) + kWordsOfHalf * half;
    const __m256i bits = ShiftBy(Load32(from), 4 - run);
    return _mm256_or_si256(LowBits(chunk, run, half, i),
                           _mm256_and_si256(bits, _mm256_set1_epi8(16)));
  }
};

struct GroupedQ6K : SuperGroups {
  static constexpr int kRun = 16;
  static constexpr int kBytes = Q6KLayout::kBytes;
  static constexpr int kAddable = 2;  // of 63 * 127 * 2

  static void Load(const GroupChunk& chunk, GroupScales& out) {
    for (int half = 0; half < 2; ++half) {
      const __m256 scale = HalvesOfRows(chunk.Units<Q6KGroupLayout::kScale, 2>(0, 0), half);
      for (int run = 0; run < 16; ++run) {
        const Byte* from = chunk.Units<Q6KGroupLayout::kSubScales, 16>(0, run) + 8 * half;
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(from));
        const __m256 scales = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), scale);
        out.scales[run][half] = scales;
        out.offsets[run][half] = _mm256_mul_ps(scales, _mm256_set1_ps(-32));
      }
    }
  }
  static __m256i Word(const GroupChunk& chunk, int run, int half, int i) {
    const Q6KRun of(chunk, run);
    const __m256i bytes = Load32(of.nibbles + kWordsOfHalf * half + Q6KRun::kStride * i);
    const __m256i bits = ShiftBy(Load32(of.high_bits + kWordsOfHalf * half + Q6KRun::kStride * i),
                                 4 - 2 * of.quarter);
    return _mm256_or_si256(of.quarter < 2 ? LowNibbles(bytes) : HighNibbles(bytes),
                           _mm256_and_si256(bits, _mm256_set1_epi8(0x30)));
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
