// The formats that pick points from codebooks, as avx2_formats.h has the others. Only
// avx2_products.h includes this.
//
// 32 values are four points of eight, or eight of four. An index has no more bits than its codebook
// needs, so that none lies outside. Those of more than eight bits are put together for a whole
// block and stored: values take long from vector registers to the others.
#pragma once

#include <immintrin.h>

#include "backend/cpu/x86/avx2_small_formats.h"
#include "backend/cpu/x86/codebook_parts.h"
#include "backend/iq_tables.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// What a format does not use is not written.
struct PointHead {
  float scales[16];
  float offsets[16];
  Byte signs[32];  // of eight values each: bits, or how far they are moved
  unsigned short indices[64];
};

struct SignedPoints {
  static constexpr bool kSigned = true;
  using Head = PointHead;
};

struct PointsAhead : SignedPoints {
  static constexpr bool kLoadsAhead = true;
};

template <class Book>
const Byte* PointsOf(const Book& book) {
  return reinterpret_cast<const Byte*>(&book);
}

void StoreAll(void* to, __m256i value) { _mm256_storeu_si256(static_cast<__m256i_u*>(to), value); }

// Compilers would keep it in vector registers and take values from there one by one, which takes
// longer than reading them.
void KeepInMemory(PointHead& head) { __asm__("" : "+m"(head)); }

// Four points of eight.
template <class Index>
__m256i FourPoints(const Byte* points, const Index* indices) {
  const auto point = [points, indices](int i) {
    return LoadEight(points + 8 * std::size_t{indices[i]});
  };
  const __m128i low = _mm_unpacklo_epi64(point(0), point(1));
  const __m128i high = _mm_unpacklo_epi64(point(2), point(3));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

// Eight points of four.
template <class Index>
__m256i EightPoints(const Byte* points, const Index* indices) {
  const auto point = [points, indices](int i) {
    return static_cast<int>(LoadWord(points + 4 * std::size_t{indices[i]}));
  };
  return _mm256_setr_epi32(point(0), point(1), point(2), point(3), point(4), point(5), point(6),
                           point(7));
}

// Sixteen indices: their lower eight bits are bytes, the upper ones those of `mask` in `high`.
void StoreIndices(const Byte* low, __m256i high, short mask, unsigned short* to) {
  StoreAll(to, _mm256_or_si256(_mm256_cvtepu8_epi16(Load16(low)),
                               _mm256_and_si256(high, _mm256_set1_epi16(mask))));
}

// `signs`: a bit for each value, set for negative.
Weights WithSigns(__m256i sizes, const Byte* signs) {
  const __m256i negative = BytesOfBits(_mm256_set1_epi32(static_cast<int>(LoadWord(signs))));
  return {sizes, _mm256_or_si256(negative, _mm256_set1_epi8(1))};
}

// scale * (0.5 + sub_scale) * step
__m256 HalfScales(__m256i sub_scales, float scale, float step) {
  const __m256 whole = _mm256_add_ps(_mm256_set1_ps(0.5f), _mm256_cvtepi32_ps(sub_scales));
  return _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(scale), whole), _mm256_set1_ps(step));
}
// scale * (2 * sub_scale + 1)
__m256 OddScales(__m256i sub_scales, float scale) {
  const __m256i odd = _mm256_add_epi32(_mm256_slli_epi32(sub_scales, 1), _mm256_set1_epi32(1));
  return EightScales(odd, scale);
}

// Sixteen sub-scales in the nibbles of eight bytes.
void StoreHalfScales(const Byte* packed, float scale, float* to) {
  const __m128i nibbles = NibblesInTurn(LoadEight(packed));
  _mm256_storeu_ps(to, HalfScales(_mm256_cvtepu8_epi32(nibbles), scale, 0.25f));
  const __m128i upper = _mm_unpackhi_epi64(nibbles, nibbles);
  _mm256_storeu_ps(to + 8, HalfScales(_mm256_cvtepu8_epi32(upper), scale, 0.25f));
}

struct Iq3Xxs : SignedPoints, Runs32 {
  static constexpr int kBytes = Iq3XxsLayout::kBytes;
  static void Load(const Byte* block, Head& head) {
    const __m256i words = Load32(block + Iq3XxsLayout::kSigns);
    const float scale = LoadFp16(block + Iq3XxsLayout::kScale);
    _mm256_storeu_ps(head.scales, HalfScales(_mm256_srli_epi32(words, 28), scale, 0.5f));
    StoreAll(head.signs, EvenSigns(SpreadSevens(words)));
    KeepInMemory(head);
  }
  static Weights Values(const Byte* block, const Head& head, int sub) {
    const Byte* indices = block + Iq3XxsLayout::kPoints + 8 * sub;
    return WithSigns(EightPoints(PointsOf(kIq3XxsPoints), indices), head.signs + 4 * sub);
  }
};

struct Iq3S : PointsAhead, Runs32 {
  static constexpr int kBytes = Iq3SLayout::kBytes;
  static void Load(const Byte* block, Head& head) {
    const __m128i nibbles = NibblesInTurn(
        _mm_cvtsi32_si128(static_cast<int>(LoadWord(block + Iq3SLayout::kSubScales))));
    _mm256_storeu_ps(head.scales, OddScales(_mm256_cvtepu8_epi32(nibbles),
                                            LoadFp16(block + Iq3SLayout::kScale)));
    const __m256i bit = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096,
                                          8192, 16384, -32768);
    for (int i = 0; i < 4; ++i) {
      short high;
      __builtin_memcpy(&high, block + Iq3SLayout::kHighBits + 2 * i, sizeof(high));
      const __m256i of_each = _mm256_and_si256(_mm256_set1_epi16(high), bit);
      StoreIndices(block + Iq3SLayout::kPoints + 16 * i, _mm256_cmpeq_epi16(of_each, bit), 0x100,
                   head.indices + 16 * i);
    }
    KeepInMemory(head);
  }
  static Weights Values(const Byte* block, const Head& head, int sub) {
    return WithSigns(EightPoints(PointsOf(kIq3SPoints), head.indices + 8 * sub),
                     block + Iq3SLayout::kSigns + 4 * sub);
  }
};

struct Iq2Xxs : PointsAhead, Runs32 {
  static constexpr int kBytes = Iq2XxsLayout::kBytes;
  static void Load(const Byte* block, Head& head) {
    const __m256 first = _mm256_castsi256_ps(Load32(block + Iq2XxsLayout::kPoints));
    const __m256 second = _mm256_castsi256_ps(Load32(block + Iq2XxsLayout::kPoints + 32));
    // The second word of each run.
    const __m256i halves = _mm256_castps_si256(_mm256_shuffle_ps(first, second, 0b11011101));
    const __m256i words = _mm256_permute4x64_epi64(halves, 0b11011000);
    const float scale = LoadFp16(block + Iq2XxsLayout::kScale);
    _mm256_storeu_ps(head.scales, HalfScales(_mm256_srli_epi32(words, 28), scale, 0.25f));
    StoreAll(head.signs, EvenSigns(SpreadSevens(words)));
    KeepInMemory(head);
  }
  static Weights Values(const Byte* block, const Head& head, int sub) {
    const Byte* indices = block + Iq2XxsLayout::kPoints + 8 * sub;
    return WithSigns(FourPoints(PointsOf(kIq2XxsPoints), indices), head.signs + 4 * sub);
  }
};

struct Iq2Xs : PointsAhead, Runs16 {
  static constexpr int kBytes = Iq2XsLayout::kBytes;
  static void Load(const Byte* block, Head& head) {
    StoreHalfScales(block + Iq2XsLayout::kSubScales, LoadFp16(block + Iq2XsLayout::kScale),
                    head.scales);
    const __m256i first = Load32(block + Iq2XsLayout::kPoints);
    const __m256i second = Load32(block + Iq2XsLayout::kPoints + 32);
    StoreAll(head.indices, _mm256_and_si256(first, _mm256_set1_epi16(511)));
    StoreAll(head.indices + 16, _mm256_and_si256(second, _mm256_set1_epi16(511)));
    const __m256i sevens =
        _mm256_packus_epi16(_mm256_srli_epi16(first, 9), _mm256_srli_epi16(second, 9));
    StoreAll(head.signs, EvenSigns(_mm256_permute4x64_epi64(sevens, 0b11011000)));
    KeepInMemory(head);
  }
  static Weights Values(const Byte*, const Head& head, int sub) {
    return WithSigns(FourPoints(PointsOf(kIq2XsPoints), head.indices + 4 * sub),
                     head.signs + 4 * sub);
  }
};

struct Iq2S : PointsAhead, Runs16 {
  static constexpr int kBytes = Iq2SLayout::kBytes;
  static void Load(const Byte* block, Head& head) {
    StoreHalfScales(block + Iq2SLayout::kSubScales, LoadFp16(block + Iq2SLayout::kScale),
                    head.scales);
    const __m256i factors = _mm256_set1_epi64x(0x0004001000400100);
    for (int i = 0; i < 2; ++i) {
      // A run's byte for each of its four indices.
      const __m256i runs =
          _mm256_set1_epi32(static_cast<int>(LoadWord(block + Iq2SLayout::kHighBits + 4 * i)));
      const __m256i bits = _mm256_shuffle_epi8(
          runs, _mm256_setr_epi16(-256, -256, -256, -256, -255, -255, -255, -255, -254, -254, -254,
                                  -254, -253, -253, -253, -253));
      StoreIndices(block + Iq2SLayout::kPoints + 16 * i, _mm256_mullo_epi16(bits, factors), 0x300,
                   head.indices + 16 * i);
    }
    KeepInMemory(head);
  }
  static Weights Values(const Byte* block, const Head& head, int sub) {
    return WithSigns(FourPoints(PointsOf(kIq2SPoints), head.indices + 4 * sub),
                     block + Iq2SLayout::kSigns + 4 * sub);
  }
};

// The points of iq1 are moved by an eighth, up or down, and counted in eighths. They become
// unsigned with what is more than the smallest of them.
constexpr int kMovedZero = 9;

// `moves`: for each point how far it is moved, plus kMovedZero.
Weights Moved(__m256i points, const Byte* moves) {
  const __m256i each = _mm256_shuffle_epi8(
      _mm256_set1_epi32(static_cast<int>(LoadWord(moves))),
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
  return Unsigned(_mm256_add_epi8(points, each));
}

// Sixteen moves: down in the lanes of two bytes that are negative.
void StoreMoves(__m256i down, Byte* to) {
  const __m256i moves = _mm256_or_si256(_mm256_srai_epi16(down, 15), _mm256_set1_epi16(1));
  const __m256i raised = _mm256_add_epi16(moves, _mm256_set1_epi16(kMovedZero));
  const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(raised, raised), 0b11011000);
  _mm_storeu_si128(reinterpret_cast<__m128i_u*>(to), _mm256_castsi256_si128(bytes));
}

// Eight scales and the offsets that undo kMovedZero.
void StoreMovedScales(__m256i sub_scales, float scale, float* scales, float* offsets) {
  const __m256 all = OddScales(sub_scales, 0.125f * scale);
  _mm256_storeu_ps(scales, all);
  _mm256_storeu_ps(offsets, _mm256_mul_ps(all, _mm256_set1_ps(-kMovedZero)));
}

struct Iq1S : Offsets32<PointHead> {
  static constexpr int kBytes = Iq1SLayout::kBytes;
  static constexpr int kAddable = 4;  // of 18 * 127 * 2
  static void Load(const Byte* block, Head& head) {
    const __m128i of_runs = Load16(block + Iq1SLayout::kHighBits);
    const __m256i sub_scales = _mm256_and_si256(
        _mm256_srli_epi32(_mm256_cvtepu16_epi32(of_runs), 12), _mm256_set1_epi32(7));
    StoreMovedScales(sub_scales, LoadFp16(block + Iq1SLayout::kScale), head.scales, head.offsets);
    // Bits 3 i and on of a run's word belong to its index i: first to bit 9, then one down.
    const __m256i factors = _mm256_set1_epi64x(0x0001000800400200);
    for (int i = 0; i < 2; ++i) {
      const __m128i four = i == 0 ? of_runs : _mm_unpackhi_epi64(of_runs, of_runs);
      const __m128i twice = _mm_unpacklo_epi16(four, four);
      const __m256i words =
          _mm256_set_m128i(_mm_unpackhi_epi32(twice, twice), _mm_unpacklo_epi32(twice, twice));
      const __m256i high = _mm256_srli_epi16(_mm256_mullo_epi16(words, factors), 1);
      StoreIndices(block + Iq1SLayout::kPoints + 16 * i, high, 0x700, head.indices + 16 * i);
      StoreMoves(words, head.signs + 16 * i);
    }
    KeepInMemory(head);
  }
  static Weights Values(const Byte*, const Head& head, int sub) {
    return Moved(FourPoints(PointsOf(kIq1Points), head.indices + 4 * sub), head.signs + 4 * sub);
  }
};

struct Iq1M : Offsets16<PointHead> {
  static constexpr int kBytes = Iq1MLayout::kBytes;
  static constexpr int kAddable = 4;  // of 18 * 127 * 2

  static float Scale(std::uint64_t words) {
    const auto bits = static_cast<unsigned short>((words >> 12 & 0xfu) | (words >> 24 & 0xf0u) |
                                                  (words >> 36 & 0xf00u) | (words >> 48 & 0xf000u));
    return _cvtsh_ss(bits);
  }
  // Three bits for each of the four runs of a word.
  static __m256i SubScales(unsigned two_words) {
    const __m128i both = _mm_cvtsi32_si128(static_cast<int>(two_words));
    const __m256i of_runs =
        _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(_mm_cvtepu16_epi32(both)),
                                    _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
    return _mm256_and_si256(_mm256_srlv_epi32(of_runs, _mm256_setr_epi32(0, 3, 6, 9, 0, 3, 6, 9)),
                            _mm256_set1_epi32(7));
  }
  static void Load(const Byte* block, Head& head) {
    const std::uint64_t words = LoadLong(block + Iq1MLayout::kSubScales);
    for (int i = 0; i < 2; ++i) {
      const auto two = static_cast<unsigned>(words >> (32 * i));
      StoreMovedScales(SubScales(two), Scale(words), head.scales + 8 * i, head.offsets + 8 * i);
    }
    for (int i = 0; i < 2; ++i) {
      const __m128i bytes = LoadEight(block + Iq1MLayout::kHighBits + 8 * i);
      // A nibble for each index, at bit 12: three bits of it, and whether it is moved down.
      const __m256i nibbles = _mm256_mullo_epi16(
          _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(bytes, bytes)), _mm256_set1_epi32(0x01001000));
      StoreIndices(block + Iq1MLayout::kPoints + 16 * i, _mm256_srli_epi16(nibbles, 4), 0x700,
                   head.indices + 16 * i);
      StoreMoves(nibbles, head.signs + 16 * i);
    }
    KeepInMemory(head);
  }
  static Weights Values(const Byte*, const Head& head, int sub) {
    return Moved(FourPoints(PointsOf(kIq1Points), head.indices + 4 * sub), head.signs + 4 * sub);
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
