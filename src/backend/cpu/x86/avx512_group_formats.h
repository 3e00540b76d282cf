// Groups of sixteen rows (backend/row_groups.h) as AVX-512 reads them: a row in each lane. Only the
// products' headers include this.
//
// Grouped<Format> has, for formats that are stored in groups,
//   kExists        true
//   kLanesAtOnce   runs of a chunk that are unpacked together
//   kAhead         how many bytes ahead weights are fetched, by MatMulTile::fetch_distance; what is
//                  best is a matter of measuring (docs/kernels.md). The processor's own prefetcher
//                  follows loads in order, as a chunk has them.
//   kFarFrom       from so many tokens on Zen 4 wants weights fetched kFar ahead
//   kLeastForPanels   from so many tokens on unpacking pays
//   kBitsLeft      how many bits to the left of their place the weights of a step's runs are: what
//                  is not shifted costs nothing, and a power of two in the scale is exact
//   LaneOf(step, i)                       which run of the chunk is the i-th of a step
//   LoadHeads(chunk, runs, scales, offsets)   of the chunk's runs
//   LoadWords(chunk, runs, step, words)   four weights of each row in a word, as Format::Values has
//                                         them, but for kBitsLeft
#pragma once

#include <immintrin.h>

#include "backend/cpu/x86/avx512_chunks.h"
#include "backend/cpu/x86/avx512_formats.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

constexpr int kRowsOfGroup = 16;

// The first `bytes` bytes of each block of a chunk with `blocks` blocks take so much.
constexpr std::ptrdiff_t AtOfGroup(int bytes) { return std::ptrdiff_t{kRowsOfGroup} * bytes; }

template <class Format>
struct Grouped {
  static constexpr bool kExists = false;
};

// How far ahead Zen 4 wants weights fetched for several tokens, each of whose chunks takes longer.
constexpr int kFar = 16384;

// Loaded into a register. GCC loads what two instructions want once for each of them otherwise,
// and the kernels here are bound by what they load.
__m512i Load64Once(const Byte* from) {
  __m512i bytes = Load64(from);
  asm("" : "+v"(bytes));
  return bytes;
}

// An f16 number of each row.
__m512 LoadFp16OfRows(const Byte* from) { return _mm512_cvtph_ps(Load32(from)); }

__m512i LowNibbles(__m512i bytes) { return _mm512_and_si512(bytes, _mm512_set1_epi8(15)); }
__m512i HighNibbles(__m512i bytes) { return LowNibbles(_mm512_srli_epi32(bytes, 4)); }

// What q4_k and q5_k share.
struct GroupedSubScales {
  static constexpr bool kExists = true;
  static constexpr int kFarFrom = 2;
  static constexpr int kLeastForPanels = 9;
  static constexpr int kLanesAtOnce = 2;
  static constexpr unsigned kBitsLeft[] = {0, 0};
  static int LaneOf(int step, int i) { return 2 * step + i; }

  static void LoadHeads(const Byte* chunk, int, __m512 (&scales)[8], __m512 (&offsets)[8]) {
    static_assert(Q4KLayout::kScale == 0 && Q4KLayout::kMinimum == 2 && Q4KLayout::kSubScales == 4);
    const __m512 minimums = LoadFp16OfRows(chunk + AtOfGroup(Q4KLayout::kMinimum));
    const Byte* packed = chunk + AtOfGroup(Q4KLayout::kSubScales);
    ScaleSubScales({Load64(packed), Load64(packed + 64), Load64(packed + 128)},
                   LoadFp16OfRows(chunk), _mm512_xor_ps(minimums, _mm512_set1_ps(-0.0f)), scales,
                   offsets);
  }
};

template <>
struct Grouped<Q4K> : GroupedSubScales {
  static constexpr int kAhead[] = {1024, 2048, 8192};
  static constexpr unsigned kBitsLeft[] = {0, 4};
  static void LoadWords(const Byte* chunk, int, int step, __m512i (&words)[2][8]) {
    const Byte* nibbles = chunk + AtOfGroup(Q4KLayout::kNibbles + 32 * step);
    for (int i = 0; i < 8; ++i) {
      const __m512i bytes = Load64Once(nibbles + 64 * i);
      words[0][i] = LowNibbles(bytes);
      words[1][i] = _mm512_and_si512(bytes, _mm512_set1_epi8(-16));
    }
  }
};

template <>
struct Grouped<Q5K> : GroupedSubScales {
  static constexpr int kAhead[] = {1024, 2048, 8192};
  static void LoadWords(const Byte* chunk, int, int step, __m512i (&words)[2][8]) {
    const Byte* nibbles = chunk + AtOfGroup(Q5KLayout::kNibbles + 32 * step);
    const Byte* high_bits = chunk + AtOfGroup(Q5KLayout::kHighBits);
    const __m512i fifth = _mm512_set1_epi8(16);
    const __m512i first = _mm512_set1_epi32(2 * step);
    for (int i = 0; i < 8; ++i) {
      const __m512i bytes = Load64Once(nibbles + 64 * i);
      const __m512i bits = _mm512_srlv_epi32(Load64(high_bits + 64 * i), first);
      const auto with_fifth = [&](__m512i nibble, unsigned left) {
        return _mm512_or_si512(nibble, _mm512_and_si512(_mm512_slli_epi32(bits, left), fifth));
      };
      words[0][i] = with_fifth(LowNibbles(bytes), 4);
      words[1][i] = with_fifth(HighNibbles(bytes), 3);
    }
  }
};

// Steps as Q6KGroupLayout has them.
template <>
struct Grouped<Q6K> {
  static constexpr bool kExists = true;
  static constexpr int kFarFrom = 2;
  static constexpr int kLeastForPanels = 9;
  static constexpr int kAhead[] = {1024, 2048, 8192};
  static constexpr int kLanesAtOnce = 4;
  static constexpr unsigned kBitsLeft[] = {0, 0, 0, 0};
  static int LaneOf(int step, int i) { return 8 * (step / 2) + 2 * i + step % 2; }

  static void LoadHeads(const Byte* chunk, int, __m512 (&scales)[16], __m512 (&)[16]) {
    const __m512 factors = LoadFp16OfRows(chunk + AtOfGroup(Q6KGroupLayout::kScale));
    const Byte* sub_scales = chunk + AtOfGroup(Q6KGroupLayout::kSubScales);
    for (int lane = 0; lane < 16; ++lane) {
      const __m512i bytes = _mm512_cvtepi8_epi32(Load16(sub_scales + AtOfGroup(lane)));
      scales[lane] = _mm512_mul_ps(_mm512_cvtepi32_ps(bytes), factors);
    }
  }

  static void LoadWords(const Byte* chunk, int, int step, __m512i (&words)[4][4]) {
    using Layout = Q6KGroupLayout;
    const Byte* triple = chunk + AtOfGroup(Layout::kSteps + Layout::kStepBytes * step);
    const __m512i upper = _mm512_set1_epi8(0x30);
    for (int i = 0; i < 4; ++i, triple += AtOfGroup(Layout::kTripleBytes)) {
      const __m512i even = Load64Once(triple + AtOfGroup(Layout::kEvenQuarters));
      const __m512i odd = Load64Once(triple + AtOfGroup(Layout::kOddQuarters));
      const __m512i bits = Load64Once(triple + AtOfGroup(Layout::kHighBits));
      const auto join = [&](__m512i low, __m512i high) {
        return _mm512_or_si512(low, _mm512_and_si512(high, upper));
      };
      words[0][i] = join(LowNibbles(even), _mm512_slli_epi32(bits, 4));
      words[1][i] = join(LowNibbles(odd), _mm512_slli_epi32(bits, 2));
      words[2][i] = join(HighNibbles(even), bits);
      words[3][i] = join(HighNibbles(odd), _mm512_srli_epi32(bits, 2));
    }
  }
};

// Formats of 32 values with one scale, of `kScaleBytes`; a step is a block.
template <class Format, int kScaleBytes>
struct GroupedBlocks {
  static constexpr bool kExists = true;
  static constexpr int kFarFrom = 2;
  static constexpr int kLeastForPanels = 17;
  static constexpr int kAhead[] = {1024, 2048, 4096};
  static constexpr int kLanesAtOnce = 1;
  static constexpr unsigned kBitsLeft[] = {0};
  static constexpr int kValueBytes = Format::kBlockBytes - kScaleBytes;
  static int LaneOf(int step, int) { return step; }

  static void LoadHeads(const Byte* chunk, int runs, __m512 (&scales)[8], __m512 (&)[8]) {
    for (int run = 0; run < runs; ++run) {
      scales[run] = Grouped<Format>::ScalesOfRows(chunk + AtOfGroup(kScaleBytes * run));
    }
  }

  static const Byte* ValuesOf(const Byte* chunk, int runs, int run) {
    return chunk + AtOfGroup(kScaleBytes * runs + kValueBytes * run);
  }
};

// Those whose values are nibbles.
template <class Format, int kScaleBytes>
struct GroupedNibbles : GroupedBlocks<Format, kScaleBytes> {
  static void LoadWords(const Byte* chunk, int runs, int step, __m512i (&words)[1][8]) {
    const Byte* nibbles = GroupedBlocks<Format, kScaleBytes>::ValuesOf(chunk, runs, step);
    for (int i = 0; i < 4; ++i) {
      const __m512i bytes = Load64Once(nibbles + 64 * i);
      words[0][i] = Format::FromNibbles(LowNibbles(bytes));
      words[0][i + 4] = Format::FromNibbles(HighNibbles(bytes));
    }
  }
};

template <>
struct Grouped<Q80> : GroupedBlocks<Q80, 2> {
  static constexpr int kFarFrom = 4;
  static __m512 ScalesOfRows(const Byte* from) { return LoadFp16OfRows(from); }
  static void LoadWords(const Byte* chunk, int runs, int step, __m512i (&words)[1][8]) {
    const Byte* values = ValuesOf(chunk, runs, step);
    for (int i = 0; i < 8; ++i) words[0][i] = Q80::Stored(Load64(values + 64 * i));
  }
};

template <>
struct Grouped<Q40> : GroupedNibbles<Q40, 2> {
  static __m512 ScalesOfRows(const Byte* from) { return LoadFp16OfRows(from); }
};

template <>
struct Grouped<Iq4Nl> : GroupedNibbles<Iq4Nl, 2> {
  static __m512 ScalesOfRows(const Byte* from) { return LoadFp16OfRows(from); }
};

template <>
struct Grouped<Int4G32> : GroupedNibbles<Int4G32, 2> {
  static __m512 ScalesOfRows(const Byte* from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(Load32(from)), 16));
  }
};

template <>
struct Grouped<Mxfp4> : GroupedNibbles<Mxfp4, 1> {
  static constexpr int kAhead[] = {1024, 2048, 8192};
  static __m512 ScalesOfRows(const Byte* from) {
    return E8M0ToFloat(_mm512_cvtepu8_epi32(Load16(from)));
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
