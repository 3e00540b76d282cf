// The formats that pick points from codebooks, as avx512_formats.h has the others. Only
// avx512_quant.cc includes this.
//
// 64 values are eight points of eight, or sixteen of four. An index has no more bits than its
// codebook needs, so that none lies outside. Points of eight are loaded one by one: a gather takes
// as long on Zen 4. Points of four are looked up in registers, 32 at a time. Where bytes can be
// looked up, points of four come 64 at a time, and those of iq2_xxs and iq2_xs 32
// (avx512_vbmi_quant.cc).
#pragma once

#include <immintrin.h>

#include "backend/cpu/x86/avx512_plain_formats.h"
#include "backend/cpu/x86/codebook_parts.h"
#include "backend/iq_tables.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

unsigned short LoadShort(const Byte* from) {
  unsigned short word;
  __builtin_memcpy(&word, from, sizeof(word));
  return word;
}

__m512i FourQuarters(const __m128i (&quarters)[4]) {
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(quarters[0]), quarters[1], 1);
  const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(quarters[2]), quarters[3], 1);
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// Eight indices of more than eight bits, four to a word: bytes of `low`, and `high_bits` bits each
// of `high`. Computed like this, since values take long from vector registers to the others.
struct Indices {
  Indices(const Byte* low, unsigned high, int high_bits) {
    const std::uint64_t upper = 0x0100010001000100u * ((1u << high_bits) - 1);
    for (int i = 0; i < 2; ++i) {
      fours[i] = _pdep_u64(LoadWord(low + 4 * i), 0x00ff00ff00ff00ffu) |
                 _pdep_u64(high >> (4 * high_bits * i), upper);
    }
  }
  unsigned operator()(int i) const {
    return static_cast<unsigned>(fours[i / 4] >> (16 * (i % 4))) & 0xffffu;
  }

  std::uint64_t fours[2];
};

// Eight points of eight; `index(i)` is that of point i.
template <class Book, class Index>
__m512i EightPoints(const Book& book, const Index& index) {
  const auto* points = reinterpret_cast<const Byte*>(&book);
  __m128i quarters[4];
  for (int i = 0; i < 4; ++i) {
    const __m128i low = LoadEight(points + 8 * std::size_t{index(2 * i)});
    quarters[i] = _mm_unpacklo_epi64(low, LoadEight(points + 8 * std::size_t{index(2 * i + 1)}));
  }
  return FourQuarters(quarters);
}

// The words of `table` that 32 indices stand for. Two registers of them are looked up at a time, by
// six bits of an index; each bit more chooses between two of these.
template <std::size_t kPoints>
__m512i LookUp(const PointWords<kPoints>& table, __m512i indices) {
  constexpr int kFound = kPoints / 64;
  __m512i found[kFound];
  for (int i = 0; i < kFound; ++i) {
    const auto* words = reinterpret_cast<const Byte*>(&table) + 128 * i;
    found[i] = _mm512_permutex2var_epi16(Load64(words), indices, Load64(words + 64));
  }
  for (int bit = 64, left = kFound / 2; left > 0; bit *= 2, left /= 2) {
    const __mmask32 upper =
        _mm512_test_epi16_mask(indices, _mm512_set1_epi16(static_cast<short>(bit)));
    for (int i = 0; i < left; ++i) {
      found[i] = _mm512_mask_mov_epi16(found[2 * i], upper, found[2 * i + 1]);
    }
  }
  return found[0];
}

// What 32 points of four have for their values: the first sixteen points, or the others. Whoever
// asks for both has the points looked up once.
template <std::size_t kPoints>
__m512i SixteenPoints(const PointWords<kPoints>& table, __m512i indices, bool second) {
  // Bytes are taken from the lower, or the upper, half of each quarter of a register.
  const __m512i quarters =
      _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), LookUp(table, indices));
  const __m512i nibble = _mm512_set1_epi8(15);
  const __m512i even = _mm512_and_si512(quarters, nibble);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi16(quarters, 4), nibble);
  return second ? _mm512_unpackhi_epi8(even, odd) : _mm512_unpacklo_epi8(even, odd);
}

// The signs of a pair of runs among those of a chunk.
std::uint64_t OfPair(__m256i signs, int pair) {
  const __m128i half =
      pair < 2 ? _mm256_castsi256_si128(signs) : _mm256_extracti128_si256(signs, 1);
  const __m128i low = pair % 2 == 0 ? half : _mm_unpackhi_epi64(half, half);
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(low));
}

// Sizes with their signs, plus `zero`.
__m512i Signed(__m512i sizes, std::uint64_t signs, int zero) {
  const __m512i zeros = _mm512_set1_epi8(static_cast<char>(zero));
  return _mm512_mask_sub_epi8(_mm512_add_epi8(zeros, sizes), _cvtu64_mask64(signs), zeros, sizes);
}

// More than any size in the codebooks of iq2 and iq3.
constexpr int kSignedZero = 64;

// scale * (0.5 + sub_scale) * step
__m512 HalfScales(__m512i sub_scales, float scale, float step) {
  const __m512 whole = _mm512_add_ps(_mm512_set1_ps(0.5f), _mm512_cvtepi32_ps(sub_scales));
  return _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(scale), whole), _mm512_set1_ps(step));
}
// scale * (2 * sub_scale + 1)
__m512 OddScales(__m512i sub_scales, float scale) {
  const __m512i odd = _mm512_add_epi32(_mm512_slli_epi32(sub_scales, 1), _mm512_set1_epi32(1));
  return _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_cvtepi32_ps(odd));
}
Head EightRuns(__m512 scales) {
  return {_mm512_maskz_mov_ps(kEightLanes, scales), _mm512_setzero_ps()};
}

struct Iq3Xxs : SuperBlocks<32, Iq3XxsLayout::kBytes, kSignedZero> {
  static Head Load(const Byte* block, int) {
    const __m256i words = Load32(block + Iq3XxsLayout::kSigns);
    const __m512i sub_scales = _mm512_zextsi256_si512(_mm256_srli_epi32(words, 28));
    return EightRuns(HalfScales(sub_scales, LoadFp16(block + Iq3XxsLayout::kScale), 0.5f));
  }
  static __m512i Values(const Byte* block, int pair) {
    const Byte* at = block + Iq3XxsLayout::kPoints + 32 * (pair / 2);
    return SignedSizes(
        block, pair, SixteenPoints(kIq3XxsWords, _mm512_cvtepu8_epi16(Load32(at)), pair % 2 != 0));
  }
  // Values from the indices of their sizes.
  static __m512i SignedSizes(const Byte* block, int pair, __m512i indices) {
    const __m512i sizes = _mm512_broadcast_i32x4(Load16(&kIq3XxsSizes));
    const __m256i signs = EvenSigns(SpreadSevens(Load32(block + Iq3XxsLayout::kSigns)));
    return Signed(_mm512_shuffle_epi8(sizes, indices), OfPair(signs, pair), kZero);
  }
};

struct Iq3S : SuperBlocks<32, Iq3SLayout::kBytes, kSignedZero> {
  static Head Load(const Byte* block, int) {
    const __m128i nibbles = NibblesInTurn(
        _mm_cvtsi32_si128(static_cast<int>(LoadWord(block + Iq3SLayout::kSubScales))));
    return EightRuns(
        OddScales(_mm512_cvtepu8_epi32(nibbles), LoadFp16(block + Iq3SLayout::kScale)));
  }
  static __m512i Values(const Byte* block, int pair) {
    const int half = pair / 2;
    const __m512i low = _mm512_cvtepu8_epi16(Load32(block + Iq3SLayout::kPoints + 32 * half));
    const __mmask32 high = _cvtu32_mask32(LoadWord(block + Iq3SLayout::kHighBits + 4 * half));
    const __m512i indices = _mm512_mask_add_epi16(low, high, low, _mm512_set1_epi16(256));
    return SignedSizes(block, pair, SixteenPoints(kIq3SWords, indices, pair % 2 != 0));
  }
  static __m512i SignedSizes(const Byte* block, int pair, __m512i sizes) {
    return Signed(sizes, LoadLong(block + Iq3SLayout::kSigns + 8 * pair), kZero);
  }
};

struct Iq2Xxs : SuperBlocks<32, Iq2XxsLayout::kBytes, kSignedZero> {
  static Head Load(const Byte* block, int) {
    const __m512i runs = Load64(block + Iq2XxsLayout::kPoints);
    const __m512i sub_scales =
        _mm512_zextsi256_si512(_mm512_cvtepi64_epi32(_mm512_srli_epi64(runs, 60)));
    return EightRuns(HalfScales(sub_scales, LoadFp16(block + Iq2XxsLayout::kScale), 0.25f));
  }
  static __m512i Values(const Byte* block, int pair) {
    const Byte* at = block + Iq2XxsLayout::kPoints + 16 * pair;
    const __m512i sizes =
        EightPoints(kIq2XxsPoints, [at](int i) { return unsigned{at[i < 4 ? i : i + 4]}; });
    const __m512i runs = Load64(block + Iq2XxsLayout::kPoints);
    const __m256i words = _mm512_cvtepi64_epi32(_mm512_srli_epi64(runs, 32));
    return Signed(sizes, OfPair(EvenSigns(SpreadSevens(words)), pair), kZero);
  }
};

struct Iq2Xs : SuperBlocks<16, Iq2XsLayout::kBytes, kSignedZero> {
  static Head Load(const Byte* block, int) {
    const __m128i nibbles = NibblesInTurn(LoadEight(block + Iq2XsLayout::kSubScales));
    return {HalfScales(_mm512_cvtepu8_epi32(nibbles), LoadFp16(block + Iq2XsLayout::kScale), 0.25f),
            _mm512_setzero_ps()};
  }
  static __m512i Values(const Byte* block, int pair) {
    const Byte* at = block + Iq2XsLayout::kPoints + 16 * pair;
    const __m512i sizes =
        EightPoints(kIq2XsPoints, [at](int i) { return LoadShort(at + 2 * i) & 511u; });
    const __m512i words = Load64(block + Iq2XsLayout::kPoints);
    const __m256i sevens = _mm512_cvtepi16_epi8(_mm512_srli_epi16(words, 9));
    return Signed(sizes, OfPair(EvenSigns(sevens), pair), kSignedZero);
  }
};

struct Iq2S : SuperBlocks<16, Iq2SLayout::kBytes, kSignedZero> {
  static Head Load(const Byte* block, int) {
    const __m128i nibbles = NibblesInTurn(LoadEight(block + Iq2SLayout::kSubScales));
    return {HalfScales(_mm512_cvtepu8_epi32(nibbles), LoadFp16(block + Iq2SLayout::kScale), 0.25f),
            _mm512_setzero_ps()};
  }
  static __m512i Values(const Byte* block, int pair) {
    const Indices indices(block + Iq2SLayout::kPoints + 8 * pair,
                          LoadShort(block + Iq2SLayout::kHighBits + 2 * pair), 2);
    return Signed(EightPoints(kIq2SPoints, indices),
                  LoadLong(block + Iq2SLayout::kSigns + 8 * pair), kSignedZero);
  }
};

// The points of iq1 are moved by an eighth, up or down, and counted in eighths; this is more than
// the largest.
constexpr int kMovedZero = 16;

// Points around kMovedZero, those in `down` moved down and the others up.
__m512i Moved(__m512i points, __mmask8 down) {
  const __m512i up = _mm512_set1_epi8(kMovedZero + 1);
  return _mm512_add_epi8(points, _mm512_mask_mov_epi64(up, down, _mm512_set1_epi8(kMovedZero - 1)));
}

struct Iq1S : SuperBlocks<32, Iq1SLayout::kBytes, kMovedZero> {
  static Head Load(const Byte* block, int) {
    const __m256i words = _mm256_cvtepu16_epi32(Load16(block + Iq1SLayout::kHighBits));
    const __m256i sub_scales = _mm256_and_si256(_mm256_srli_epi32(words, 12), _mm256_set1_epi32(7));
    const __m512 scales =
        OddScales(_mm512_zextsi256_si512(sub_scales), LoadFp16(block + Iq1SLayout::kScale));
    return EightRuns(_mm512_mul_ps(scales, _mm512_set1_ps(0.125f)));
  }
  static __m512i Values(const Byte* block, int pair) {
    const unsigned words = LoadWord(block + Iq1SLayout::kHighBits + 4 * pair);
    const unsigned high = (words & 0xfffu) | (words >> 16 & 0xfffu) << 12;
    const Indices indices(block + Iq1SLayout::kPoints + 8 * pair, high, 3);
    // A run's sign for each of its four points.
    const unsigned down = ((words >> 15 & 1u) * 0x0fu) | ((words >> 31) * 0xf0u);
    return Moved(EightPoints(kIq1Points, indices), static_cast<__mmask8>(down));
  }
};

struct Iq1M : SuperBlocks<16, Iq1MLayout::kBytes, kMovedZero> {
  static Head Load(const Byte* block, int) {
    const std::uint64_t words = LoadLong(block + Iq1MLayout::kSubScales);
    const auto bits = static_cast<unsigned short>((words >> 12 & 0xfu) | (words >> 24 & 0xf0u) |
                                                  (words >> 36 & 0xf00u) | (words >> 48 & 0xf000u));
    // Three bits for each of the four runs of a word.
    const __m512i of_runs = _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3),
        _mm512_cvtepu16_epi32(_mm256_set1_epi64x(static_cast<long long>(words))));
    const __m512i shifts = _mm512_setr_epi32(0, 3, 6, 9, 0, 3, 6, 9, 0, 3, 6, 9, 0, 3, 6, 9);
    const __m512i sub_scales =
        _mm512_and_si512(_mm512_srlv_epi32(of_runs, shifts), _mm512_set1_epi32(7));
    const __m512 scales = OddScales(sub_scales, _cvtsh_ss(bits));
    return {_mm512_mul_ps(scales, _mm512_set1_ps(0.125f)), _mm512_setzero_ps()};
  }
  static __m512i Values(const Byte* block, int pair) {
    const unsigned word = LoadWord(block + Iq1MLayout::kHighBits + 4 * pair);
    const Indices indices(block + Iq1MLayout::kPoints + 8 * pair, _pext_u32(word, 0x77777777u), 3);
    const unsigned down = _pext_u32(word, 0x88888888u);
    return Moved(EightPoints(kIq1Points, indices), static_cast<__mmask8>(down));
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
