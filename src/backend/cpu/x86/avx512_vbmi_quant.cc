// The products of avx512_quant.cc for one token to three on processors that look up bytes (AVX-512
// VBMI), with formats that pick points from codebooks, and with nibbles that stand for levels in
// groups of rows. They have the same bits.

#include <immintrin.h>

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/avx512_format_list.h"
#include "backend/cpu/x86/avx512_group_product.h"
#include "backend/cpu/x86/avx512_row_product.h"

namespace doppler {
namespace {

// The bytes of `table` that 64 indices stand for: seven bits pick from two registers, the eighth
// picks one of two such bytes, and a ninth, `upper`, the half of the table.
template <std::size_t kPoints>
__m512i LookUpBytes(const std::uint8_t (&table)[kPoints], __m512i indices, __mmask64 upper) {
  __m512i halves[kPoints / 256];
  const __mmask64 eighth = _mm512_movepi8_mask(indices);
  for (std::size_t i = 0; i < kPoints / 256; ++i) {
    const std::uint8_t* half = table + 256 * i;
    const __m512i low = _mm512_permutex2var_epi8(Load64(half), indices, Load64(half + 64));
    halves[i] = _mm512_mask_mov_epi8(
        low, eighth, _mm512_permutex2var_epi8(Load64(half + 128), indices, Load64(half + 192)));
  }
  return _mm512_mask_mov_epi8(halves[0], upper, halves[kPoints / 256 - 1]);
}

// What the 64 points of a block have for the values of a pair of runs. Inlined, so that whoever
// asks for all four pairs has the points looked up once.
template <std::size_t kPoints>
[[gnu::always_inline]] inline __m512i ValuesOfPair(const PointBytes<kPoints>& table,
                                                   __m512i indices, __mmask64 upper, int pair) {
  // Words of four points each, so that what is unpacked within quarters of a register is in order.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i front = _mm512_permutexvar_epi32(order, LookUpBytes(table.front, indices, upper));
  const __m512i back = _mm512_permutexvar_epi32(order, LookUpBytes(table.back, indices, upper));
  const __m512i words =
      pair < 2 ? _mm512_unpacklo_epi8(front, back) : _mm512_unpackhi_epi8(front, back);
  const __m512i nibble = _mm512_set1_epi8(15);
  const __m512i even = _mm512_and_si512(words, nibble);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi16(words, 4), nibble);
  return pair % 2 == 0 ? _mm512_unpacklo_epi8(even, odd) : _mm512_unpackhi_epi8(even, odd);
}

struct Iq3XxsByBytes : Iq3Xxs {
  static constexpr int kPlace = PlaceOf<Iq3Xxs>(FormatsByType{});
  static __m512i Values(const Byte* block, int pair) {
    const __m512i indices = Load64(block + Iq3XxsLayout::kPoints);
    return SignedSizes(block, pair, ValuesOfPair(kIq3XxsBytes, indices, 0, pair));
  }
};

struct Iq3SByBytes : Iq3S {
  static constexpr int kPlace = PlaceOf<Iq3S>(FormatsByType{});
  static __m512i Values(const Byte* block, int pair) {
    const __m512i indices = Load64(block + Iq3SLayout::kPoints);
    const __mmask64 upper = _cvtu64_mask64(LoadLong(block + Iq3SLayout::kHighBits));
    return SignedSizes(block, pair, ValuesOfPair(kIq3SBytes, indices, upper, pair));
  }
};

// In each eighth of a register the number of one byte, eight times.
__m512i ByteOfEighths(__m512i numbers, int add) {
  return _mm512_add_epi8(_mm512_mullo_epi64(numbers, _mm512_set1_epi64(0x0101010101010101)),
                         _mm512_set1_epi8(static_cast<char>(add)));
}

// The values of a pair of runs of iq2. Byte `at`, in each eighth, has the index of a point in
// `indices`, and its seven sign bits, with any eighth one, in `sevens`. Signs become a mask without
// a way through general registers: products wait for them. Inlined as above.
template <std::size_t kPoints>
[[gnu::always_inline]] inline __m512i SignedPair(const PointBytes<kPoints>& table, __m512i indices,
                                                 __mmask64 upper, __m512i sevens, __m512i at) {
  const __m512i front = LookUpBytes(table.front, indices, upper);
  const __m512i back = LookUpBytes(table.back, indices, upper);
  // Both bytes of a point in turn; then each two bits of them are lowest in a byte, with others
  // above them.
  const __m512i points =
      _mm512_permutex2var_epi8(front, _mm512_or_si512(at, _mm512_set1_epi16(0x4000)), back);
  const __m512i fields =
      _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x0e0c0a0806040200), points);
  int sizes;
  __builtin_memcpy(&sizes, &kIq2Sizes, sizeof(sizes));
  const __m512i zero = _mm512_set1_epi8(kSignedZero);
  const __m512i positive =
      _mm512_permutexvar_epi8(fields, _mm512_add_epi8(_mm512_set1_epi32(sizes), zero));
  const auto* even_signs = reinterpret_cast<const Byte*>(&kEvenSigns);
  const __m512i even =
      _mm512_permutex2var_epi8(Load64(even_signs), sevens, Load64(even_signs + 64));
  const __mmask64 negative =
      _mm512_test_epi8_mask(_mm512_permutexvar_epi8(at, even),
                            _mm512_set1_epi64(static_cast<long long>(0x8040201008040201)));
  return _mm512_mask_sub_epi8(positive, negative, _mm512_add_epi8(zero, zero), positive);
}

struct Iq2XxsByBytes : Iq2Xxs {
  static constexpr int kPlace = PlaceOf<Iq2Xxs>(FormatsByType{});
  static __m512i Values(const Byte* block, int pair) {
    // Four bytes of indices, then four times seven bits of signs.
    const __m512i runs = Load64(block + Iq2XxsLayout::kPoints);
    const __m512i sevens =
        _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x352e2720352e2720), runs);
    const __m512i at = ByteOfEighths(_mm512_setr_epi64(0, 1, 2, 3, 8, 9, 10, 11), 16 * pair);
    return SignedPair(kIq2XxsBytes, runs, 0, sevens, at);
  }
};

struct Iq2XsByBytes : Iq2Xs {
  static constexpr int kPlace = PlaceOf<Iq2Xs>(FormatsByType{});
  static __m512i Values(const Byte* block, int pair) {
    // Nine bits of an index, then seven of signs.
    const __m512i words = Load64(block + Iq2XsLayout::kPoints);
    const __mmask64 ninth = _mm512_movepi8_mask(_mm512_srli_epi16(words, 1));
    const __m512i sevens = _mm512_srli_epi16(words, 9);
    const __m512i at = ByteOfEighths(_mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), 16 * pair);
    return SignedPair(kIq2XsBytes, words, ninth, sevens, at);
  }
};

template <class Format>
void RunRows(const MatMulTile& tile) {
  if (tile.tokens >= kLeastForPanels) {
    avx512::kProducts.of[Format::kPlace](tile);
    return;
  }
  for (int row = 0; row < tile.rows; ++row) RowProduct<Format>::AllTokens(tile, row);
}

// What the low nibbles of bytes stand for. Six bits are looked at, and the table is there four
// times, so that nothing has to be masked.
__m512i LevelsOfLow(__m512i bytes, const signed char* levels, int zero) {
  return _mm512_permutexvar_epi8(bytes, LevelTable(levels, zero));
}

template <class Format, const signed char (&kLevels)[16]>
struct LevelsByBytes : Format {
  static constexpr int kPlace = PlaceOf<Format>(FormatsByType{});
};

template <class Format, const signed char (&kLevels)[16]>
struct Grouped<LevelsByBytes<Format, kLevels>> : Grouped<Format> {
  static void LoadWords(const Byte* chunk, int runs, int step, __m512i (&words)[1][8]) {
    const Byte* nibbles = Grouped<Format>::ValuesOf(chunk, runs, step);
    for (int i = 0; i < 4; ++i) {
      const __m512i bytes = Load64Once(nibbles + 64 * i);
      words[0][i] = LevelsOfLow(bytes, kLevels, Format::kZero);
      words[0][i + 4] = LevelsOfLow(_mm512_srli_epi32(bytes, 4), kLevels, Format::kZero);
    }
  }
};

template <class Format>
void RunGroups(const MatMulTile& tile) {
  if (!tile.grouped || tile.tokens >= Grouped<Format>::kLeastForPanels) {
    avx512::kProducts.of[Format::kPlace](tile);
    return;
  }
  GroupProduct<Format>::AllRows(tile);
}

consteval MatMulKernels Products() {
  using Mxfp4ByBytes = LevelsByBytes<Mxfp4, kFp4Levels>;
  using Iq4NlByBytes = LevelsByBytes<Iq4Nl, kIq4Levels>;
  MatMulKernels products = {};
  products.of[Iq3XxsByBytes::kPlace] = RunRows<Iq3XxsByBytes>;
  products.of[Iq3SByBytes::kPlace] = RunRows<Iq3SByBytes>;
  products.of[Iq2XxsByBytes::kPlace] = RunRows<Iq2XxsByBytes>;
  products.of[Iq2XsByBytes::kPlace] = RunRows<Iq2XsByBytes>;
  products.of[Mxfp4ByBytes::kPlace] = RunGroups<Mxfp4ByBytes>;
  products.of[Iq4NlByBytes::kPlace] = RunGroups<Iq4NlByBytes>;
  return products;
}

}  // namespace

namespace avx512_vbmi {
constinit const MatMulKernels kProducts = Products();
}  // namespace avx512_vbmi

}  // namespace doppler
