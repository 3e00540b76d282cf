// The block formats as AVX-512 reads them: chunks of up to 256 values of a row, unpacked into
// registers of 64 unsigned weights. Only avx512_quant.cc includes this.
//
// A Format has
//   kRun              values that share a scale, 32 or 16
//   kZero             what the weight 0 is stored as
//   kHasOffsets       whether Head::offsets multiply the activations' sums
//   kReadsResiduals   whether the activations have 16 bits
//   kSharesExponents  whether scales are powers of two, and runs of a chunk are added up as whole
//                     numbers (avx512_shared_exponents.h); those read residuals
//   LoadExponents(chunk, runs)   then, a run in each lane, and zeros
//   kExponentAt              and where a block has its own
//   kChunkBytes       of 256 values
//   Load(chunk, runs)        scales and offsets of the chunk's runs; lanes beyond them are 0
//   Values(chunk, pair)      values 64 * pair and on
//   kPairsOfNibbles          whether all of it is nibbles: 32 bytes are a run, low ones, and the
//                            next one
//   Nibbles(chunk, half)     then, 64 bytes of them
//   kSplitsNibbles           whether a run's 16 bytes at kNibblesAt of its block are its first
//                            values, low nibbles, and its others
//   FromNibbles(nibbles)     then, the weights
//   kHeadsOfRows             whether it has LoadHeads(chunk, row_bytes, first_lane, scales,
//                            offsets), which loads eight lanes of sixteen rows at once
//   LastRun(chunk, run)      32 values and 32 zeros, where a row ends with an odd number of runs
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

constexpr int kChunk = 256;

__m512i Load64(const void* from) { return _mm512_loadu_si512(from); }
__m512i LoadTwice(const void* from) { return _mm512_broadcast_i64x4(Load32(from)); }

// `a` in the first eight lanes, `b` in the others.
__m512 Halves(float a, float b) {
  return _mm512_mask_mov_ps(_mm512_set1_ps(a), 0xff00, _mm512_set1_ps(b));
}
__m512i IntHalves(int a, int b) {
  return _mm512_mask_mov_epi32(_mm512_set1_epi32(a), 0xff00, _mm512_set1_epi32(b));
}

constexpr __mmask16 FirstLanes(int count) { return static_cast<__mmask16>((1u << count) - 1); }
constexpr __mmask16 kEightLanes = FirstLanes(8);

// A lane for each run of a chunk.
struct Head {
  __m512 scales;
  __m512 offsets;
};

// Sixteen bytes of sixteen rows: word w of row r is lane r of words[w].
void LoadWordsOfRows(const Byte* first, std::size_t row_bytes, __m512i (&words)[4]) {
  __m512i rows[4];
  for (int i = 0; i < 4; ++i) {
    const Byte* row = first + static_cast<std::size_t>(i) * row_bytes;
    const __m512i one = _mm512_castsi128_si512(Load16(row));
    const __m512i two = _mm512_inserti32x4(one, Load16(row + 4 * row_bytes), 1);
    const __m512i three = _mm512_inserti32x4(two, Load16(row + 8 * row_bytes), 2);
    rows[i] = _mm512_inserti32x4(three, Load16(row + 12 * row_bytes), 3);
  }
  const __m512i low01 = _mm512_unpacklo_epi32(rows[0], rows[1]);
  const __m512i high01 = _mm512_unpackhi_epi32(rows[0], rows[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(rows[2], rows[3]);
  const __m512i high23 = _mm512_unpackhi_epi32(rows[2], rows[3]);
  words[0] = _mm512_unpacklo_epi64(low01, low23);
  words[1] = _mm512_unpackhi_epi64(low01, low23);
  words[2] = _mm512_unpacklo_epi64(high01, high23);
  words[3] = _mm512_unpackhi_epi64(high01, high23);
}

// Four bytes of each word, times `factors`. They stay where they are, and it is the factor that
// moves by powers of two, which is exact. Inlined, since kernels ask for it in each chunk.
[[gnu::always_inline]] inline void ScaleBytes(__m512i words, __m512 factors, __m512* out) {
  for (int byte = 0; byte < 4; ++byte) {
    const __m512i alone =
        _mm512_and_si512(words, _mm512_set1_epi32(static_cast<int>(0xffu << (8 * byte))));
    const __m512 moved = _mm512_mul_ps(factors, _mm512_set1_ps(1.0f / (1u << (8 * byte))));
    out[byte] = _mm512_mul_ps(_mm512_cvtepi32_ps(alone), moved);
  }
}

// The packed sub-scales of q4_k and q5_k, a row in each lane.
struct SubScaleWords {
  __m512i first;
  __m512i second;
  __m512i third;
};

// What q4_k and q5_k share: the scales and offsets of the eight runs of a block, a row in each
// lane.
[[gnu::always_inline]] inline void ScaleSubScales(const SubScaleWords& packed, __m512 factors,
                                                  __m512 negative_minimums, __m512 (&scales)[8],
                                                  __m512 (&offsets)[8]) {
  const __m512i six_bits = _mm512_set1_epi32(0x3f3f3f3f);
  const __m512i four_bits = _mm512_set1_epi32(0x0f0f0f0f);
  const __m512i upper_bits = _mm512_set1_epi32(0x30303030);
  const auto high = [&](__m512i low_part, __m512i high_part) {
    return _mm512_or_si512(_mm512_and_si512(low_part, four_bits),
                           _mm512_and_si512(_mm512_srli_epi32(high_part, 2), upper_bits));
  };
  ScaleBytes(_mm512_and_si512(packed.first, six_bits), factors, scales);
  ScaleBytes(high(packed.third, packed.first), factors, scales + 4);
  ScaleBytes(_mm512_and_si512(packed.second, six_bits), negative_minimums, offsets);
  ScaleBytes(high(_mm512_srli_epi32(packed.third, 4), packed.second), negative_minimums,
             offsets + 4);
}

void LoadSubScalesOfRows(const Byte* block, std::size_t row_bytes, __m512 (&scales)[8],
                         __m512 (&offsets)[8]) {
  __m512i words[4];
  LoadWordsOfRows(block, row_bytes, words);
  const __m512 factors = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words[0]));
  const __m512 minimums = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(words[0], 16)));
  ScaleSubScales({words[1], words[2], words[3]}, factors,
                 _mm512_xor_ps(minimums, _mm512_set1_ps(-0.0f)), scales, offsets);
}

// The same of one row, a run in each lane.
Head LoadSubScales(const Byte* block, const Byte* packed) {
  const auto [of_scales, of_minimums] = UnpackSubScales(packed);
  const __m128i bytes =
      _mm_set_epi64x(static_cast<long long>(of_minimums), static_cast<long long>(of_scales));
  const __m512 factors = Halves(LoadFp16(block), -LoadFp16(block + 2));
  const __m512 scales = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), factors);
  return {_mm512_maskz_mov_ps(kEightLanes, scales),
          _mm512_zextps256_ps512(_mm512_extractf32x8_ps(scales, 1))};
}

// Formats of 256 values: a chunk is a block.
template <int kRunLength, int kBytes, int kZeroAt = 0>
struct SuperBlocks {
  static constexpr int kRun = kRunLength;
  static constexpr int kZero = kZeroAt;
  static constexpr bool kHasOffsets = kZeroAt == 0;
  static constexpr bool kReadsResiduals = false;
  static constexpr bool kSharesExponents = false;
  static constexpr bool kPairsOfNibbles = false;
  static constexpr bool kSplitsNibbles = false;
  static constexpr int kChunkBytes = kBytes;
  static constexpr bool kHeadsOfRows = false;
  static __m512i LastRun(const Byte*, int) { return _mm512_setzero_si512(); }
};

struct Q4K : SuperBlocks<32, Q4KLayout::kBytes> {
  static constexpr bool kHeadsOfRows = true;
  static constexpr bool kPairsOfNibbles = true;
  static __m512i Nibbles(const Byte* block, int half) {
    return Load64(block + Q4KLayout::kNibbles + 64 * half);
  }
  static_assert(Q4KLayout::kScale == 0 && Q4KLayout::kMinimum == 2 && Q4KLayout::kSubScales == 4);
  static Head Load(const Byte* block, int) {
    return LoadSubScales(block, block + Q4KLayout::kSubScales);
  }
  static void LoadHeads(const Byte* block, std::size_t row_bytes, int, __m512 (&scales)[8],
                        __m512 (&offsets)[8]) {
    LoadSubScalesOfRows(block, row_bytes, scales, offsets);
  }
  static __m512i Values(const Byte* block, int pair) {
    const __m512i run = LoadTwice(block + Q4KLayout::kNibbles + 32 * pair);
    return _mm512_and_si512(_mm512_srlv_epi32(run, IntHalves(0, 4)), _mm512_set1_epi8(15));
  }
};

struct Q5K : SuperBlocks<32, Q5KLayout::kBytes> {
  static constexpr bool kHeadsOfRows = true;
  static_assert(Q5KLayout::kScale == 0 && Q5KLayout::kMinimum == 2 && Q5KLayout::kSubScales == 4);
  static Head Load(const Byte* block, int) {
    return LoadSubScales(block, block + Q5KLayout::kSubScales);
  }
  static void LoadHeads(const Byte* block, std::size_t row_bytes, int, __m512 (&scales)[8],
                        __m512 (&offsets)[8]) {
    LoadSubScalesOfRows(block, row_bytes, scales, offsets);
  }
  static __m512i Values(const Byte* block, int pair) {
    const __m512i run = LoadTwice(block + Q5KLayout::kNibbles + 32 * pair);
    const __m512i low =
        _mm512_and_si512(_mm512_srlv_epi32(run, IntHalves(0, 4)), _mm512_set1_epi8(15));
    const __m512i high_bits = LoadTwice(block + Q5KLayout::kHighBits);
    const int bit = 0x01010101 << (2 * pair);
    const __mmask64 high = _mm512_test_epi8_mask(
        high_bits, IntHalves(bit, static_cast<int>(static_cast<unsigned>(bit) << 1)));
    return _mm512_mask_add_epi8(low, high, low, _mm512_set1_epi8(16));
  }
};

struct Q6K : SuperBlocks<16, Q6KLayout::kBytes, 32> {
  static constexpr bool kHeadsOfRows = true;
  static Head Load(const Byte* block, int) {
    const __m128i bytes =
        _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(block + Q6KLayout::kSubScales));
    const __m512 scales = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)),
                                        _mm512_set1_ps(LoadFp16(block + Q6KLayout::kScale)));
    return {scales, _mm512_setzero_ps()};
  }
  static void LoadHeads(const Byte* block, std::size_t row_bytes, int first_lane,
                        __m512 (&scales)[8], __m512 (&)[8]) {
    alignas(32) unsigned short bits[16];
    for (int row = 0; row < 16; ++row) {
      __builtin_memcpy(bits + row,
                       block + static_cast<std::size_t>(row) * row_bytes + Q6KLayout::kScale,
                       sizeof(bits[row]));
    }
    const __m512 factors =
        _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(bits)));
    __m512i words[4];
    LoadWordsOfRows(block + Q6KLayout::kSubScales, row_bytes, words);
    for (int i = 0; i < 8; ++i) {
      const auto left = static_cast<unsigned>(24 - 8 * (i % 4));
      const __m512i byte =
          _mm512_srai_epi32(_mm512_slli_epi32(words[first_lane / 4 + i / 4], left), 24);
      scales[i] = _mm512_mul_ps(_mm512_cvtepi32_ps(byte), factors);
    }
  }
  static __m512i Values(const Byte* block, int pair) {
    const int half = pair / 2;
    const __m512i run = Load64(block + Q6KLayout::kNibbles + 64 * half);
    const __m512i high_bits = LoadTwice(block + Q6KLayout::kHighBits + 32 * half);
    const bool upper = pair % 2 != 0;
    const __m512i low =
        _mm512_and_si512(upper ? _mm512_srli_epi32(run, 4) : run, _mm512_set1_epi8(15));
    const __m512i high = upper ? _mm512_srlv_epi32(high_bits, IntHalves(0, 2))
                               : _mm512_sllv_epi32(high_bits, IntHalves(4, 2));
    return _mm512_or_si512(low, _mm512_and_si512(high, _mm512_set1_epi8(0x30)));
  }
};

// Formats of 32 values with one scale: a chunk is eight blocks, or what is left of the row.
template <class Block, int kBytes>
struct SmallBlocks {
  static constexpr int kRun = 32;
  static constexpr bool kHasOffsets = false;
  static constexpr bool kReadsResiduals = false;
  static constexpr bool kSharesExponents = false;
  static constexpr bool kPairsOfNibbles = false;
  static constexpr bool kSplitsNibbles = false;
  static constexpr bool kHeadsOfRows = false;
  static constexpr int kBlockBytes = kBytes;
  static constexpr int kChunkBytes = 8 * kBytes;

  static Head Load(const Byte* chunk, int runs) {
    alignas(32) float scales[8] = {};
    for (int run = 0; run < runs; ++run) scales[run] = Block::Scale(chunk + run * kBytes);
    return {_mm512_zextps256_ps512(_mm256_load_ps(scales)), _mm512_setzero_ps()};
  }
  static __m512i Values(const Byte* chunk, int pair) {
    const Byte* first = chunk + 2 * pair * kBytes;
    return Block::Stored(_mm512_inserti64x4(_mm512_castsi256_si512(Block::Unpack(first)),
                                            Block::Unpack(first + kBytes), 1));
  }
  static __m512i LastRun(const Byte* chunk, int run) {
    return Block::Stored(_mm512_zextsi256_si512(Block::Unpack(chunk + run * kBytes)));
  }
  static __m512i Stored(__m512i unpacked) { return unpacked; }
};

// Eight f16 scales, one in each block.
template <int kBytes>
Head LoadFp16Scales(const Byte* chunk) {
  alignas(16) unsigned short bits[8];
  for (int run = 0; run < 8; ++run) __builtin_memcpy(bits + run, chunk + run * kBytes, 2);
  const __m128i all = _mm_load_si128(reinterpret_cast<const __m128i*>(bits));
  return {_mm512_zextps256_ps512(_mm256_cvtph_ps(all)), _mm512_setzero_ps()};
}

// Formats whose blocks begin with an f16 scale.
template <class Block, int kBytes>
struct Fp16Blocks : SmallBlocks<Block, kBytes> {
  static float Scale(const Byte* block) { return LoadFp16(block); }
  static Head Load(const Byte* chunk, int runs) {
    if (runs == 8) return LoadFp16Scales<kBytes>(chunk);
    return SmallBlocks<Block, kBytes>::Load(chunk, runs);
  }
};

struct Q80 : Fp16Blocks<Q80, Q80Layout::kBytes> {
  static_assert(Q80Layout::kScale == 0);
  static constexpr int kZero = 128;
  static __m256i Unpack(const Byte* block) { return Load32(block + Q80Layout::kValues); }
  static __m512i Stored(__m512i bytes) { return _mm512_xor_si512(bytes, _mm512_set1_epi8(-128)); }
};

struct Q40 : Fp16Blocks<Q40, Q40Layout::kBytes> {
  static_assert(Q40Layout::kScale == 0);
  static constexpr int kZero = 8;
  static constexpr bool kSplitsNibbles = true;
  static constexpr int kNibblesAt = Q40Layout::kNibbles;
  static __m512i FromNibbles(__m512i nibbles) { return nibbles; }
  static __m256i Unpack(const Byte* block) { return UnpackNibbles16(block + Q40Layout::kNibbles); }
};

struct Int4G32 : SmallBlocks<Int4G32, Int4G32Layout::kBytes> {
  static constexpr int kZero = 8;
  static float Scale(const Byte* block) { return LoadBf16(block + Int4G32Layout::kScale); }
  static constexpr bool kSplitsNibbles = true;
  static constexpr int kNibblesAt = Int4G32Layout::kNibbles;
  static __m512i FromNibbles(__m512i nibbles) { return nibbles; }
  static __m256i Unpack(const Byte* block) {
    return UnpackNibbles16(block + Int4G32Layout::kNibbles);
  }
};

// 16 levels plus `zero`, four times.
__m512i LevelTable(const signed char* levels, int zero) {
  const __m128i table = _mm_add_epi8(Load16(levels), _mm_set1_epi8(static_cast<char>(zero)));
  return _mm512_broadcast_i32x4(table);
}
// What nibbles stand for among them.
__m512i Levels(__m512i nibbles, const signed char* levels, int zero) {
  return _mm512_shuffle_epi8(LevelTable(levels, zero), nibbles);
}

// Blocks of 32 nibbles that stand for levels.
template <class Block>
__m256i UnpackLevels(const Byte* block) {
  const __m256i nibbles = UnpackNibbles16(block + Block::kNibblesAt);
  return _mm512_castsi512_si256(Block::FromNibbles(_mm512_castsi256_si512(nibbles)));
}

// Sixteen exponents.
__m512 E8M0ToFloat(__m512i exponents) {
  // The smallest exponent is a subnormal number.
  const __m512i twice =
      _mm512_max_epu32(_mm512_slli_epi32(exponents, 23), _mm512_set1_epi32(0x00400000));
  return _mm512_mul_ps(_mm512_castsi512_ps(twice), _mm512_set1_ps(0.5f));
}

struct Mxfp4 : SmallBlocks<Mxfp4, Mxfp4Layout::kBytes> {
  static constexpr bool kReadsResiduals = true;
  static constexpr bool kSharesExponents = true;
  static constexpr int kZero = 12;
  static constexpr int kExponentAt = Mxfp4Layout::kExponent;
  // Not through memory, from which a load does not get what eight stores have just written.
  static __m512i LoadExponents(const Byte* chunk, int runs) {
    unsigned long long exponents = 0;
    for (int run = runs - 1; run >= 0; --run) {
      exponents = exponents << 8u | chunk[run * kBlockBytes + kExponentAt];
    }
    return _mm512_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(exponents)));
  }
  static Head Load(const Byte* chunk, int runs) {
    return {_mm512_maskz_mov_ps(FirstLanes(runs), E8M0ToFloat(LoadExponents(chunk, runs))),
            _mm512_setzero_ps()};
  }
  static constexpr bool kSplitsNibbles = true;
  static constexpr int kNibblesAt = Mxfp4Layout::kNibbles;
  static __m512i FromNibbles(__m512i nibbles) { return Levels(nibbles, kFp4Levels, kZero); }
  static __m256i Unpack(const Byte* block) { return UnpackLevels<Mxfp4>(block); }
};

struct Iq4Nl : Fp16Blocks<Iq4Nl, Iq4NlLayout::kBytes> {
  static_assert(Iq4NlLayout::kScale == 0);
  static constexpr int kZero = 127;
  static constexpr bool kSplitsNibbles = true;
  static constexpr int kNibblesAt = Iq4NlLayout::kNibbles;
  static __m512i FromNibbles(__m512i nibbles) { return Levels(nibbles, kIq4Levels, kZero); }
  static __m256i Unpack(const Byte* block) { return UnpackLevels<Iq4Nl>(block); }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
