// What the products of groups of sixteen rows (row_groups.h) have in common: a register holds four
// weights of each of eight rows, a half of the group, and meets the same four activations in all
// lanes. Only avx2_products.h includes this; see there for the order of sums.
//
// A Format has
//   kRun               values that share a scale, 32 or 16
//   kBytes, kBlocks    of a block, and blocks in a chunk of 256 values
//   kReadsResiduals    whether the activations have 16 bits
//   kSigned            whether weights are signed
//   kZero              how much more than weights stand for is in Word
//   kAddable           products of pairs of unsigned weights that int16 can add up, without VNNI;
//                      they divide the words of a run
//   kHasOffsets        whether GroupScales has offsets
//   kFetchesAhead      whether weights are fetched ahead without VNNI, too
//   Load(chunk, scales)           what is unpacked once for a chunk
//   Word(chunk, run, half, i)     weights 4 * i and on of a run of eight rows
#pragma once

#include <immintrin.h>

#include "backend/cpu/group_chunk.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/avx2_row_product.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

constexpr int kHalves = 2;
constexpr int kLanesOfSums = 8;

// Of the runs of a chunk, for each half of the rows.
struct GroupScales {
  __m256 scales[16][kHalves];
  __m256 offsets[16][kHalves];
};

// Of a token: a row in each lane of the registers.
using GroupSums = __m256[kLanesOfSums][kHalves];

template <class Format>
struct GroupShape {
  static constexpr int kWords = Format::kRun / 4;
  // Words whose products one register adds up.
  static constexpr int kAddable = kHasVnni ? kWords : Format::kAddable;
  static constexpr int kRuns = kColumnsOfChunk / Format::kRun;
  static constexpr int kRunsOfBlock = kRuns / Format::kBlocks;
  static constexpr int kColumnsOfBlock = kColumnsOfChunk / Format::kBlocks;
  static constexpr int kBytesOfChunk = kRowsOfGroup * Format::kBlocks * Format::kBytes;
  static constexpr int kBytesOfRun = kBytesOfChunk / kRuns;
};

// Keeps the compiler from computing a value later, or again for each use. GCC would also put sums
// of whole numbers into an order that does not fit in registers.
__m256i InRegister(__m256i value) {
  __asm__("" : "+x"(value));
  return value;
}

// Four bytes, or two numbers of 16 bits, in all lanes.
template <class T>
__m256i WordOfAll(const T* from) {
  int word;
  __builtin_memcpy(&word, from, sizeof(word));
  return InRegister(_mm256_set1_epi32(word));
}

// A sum of products of up to kAddable words, and one more: of int16 pairs, of int32 with VNNI.
template <class Format>
__m256i MoreProducts(__m256i sum, bool is_first, __m256i word, __m256i activations) {
  static_assert(!kHasVnni || !Format::kSigned);
  if constexpr (kHasVnni) {
    return InRegister(AddProducts(is_first ? _mm256_setzero_si256() : sum, word, activations));
  } else {
    const __m256i pairs =
        Format::kSigned
            ? _mm256_maddubs_epi16(_mm256_abs_epi8(word), _mm256_sign_epi8(activations, word))
            : _mm256_maddubs_epi16(word, activations);
    return InRegister(is_first ? pairs : _mm256_add_epi16(sum, pairs));
  }
}

// Adds such a sum to dots, 2^kBits times.
template <int kBits>
__m256i AddSum(__m256i dots, __m256i sum) {
  if constexpr (kHasVnni) {
    return _mm256_add_epi32(dots, _mm256_slli_epi32(sum, kBits));
  } else {
    return InRegister(AddPairs(dots, sum, _mm256_set1_epi16(1 << kBits)));
  }
}

// The chunk from column `begin` on of the group of rows from `row` on.
template <class Format>
GroupChunk ChunkAt(const MatMulTile& tile, int row, int begin) {
  constexpr int kColumnsOfBlock = GroupShape<Format>::kColumnsOfBlock;
  const int left = tile.cols - begin;
  const auto blocks_before = static_cast<std::size_t>(begin / kColumnsOfBlock);
  return {tile.weights + static_cast<std::size_t>(row) * tile.row_bytes +
              kRowsOfGroup * blocks_before * Format::kBytes,
          (left < kColumnsOfChunk ? left : kColumnsOfChunk) / kColumnsOfBlock};
}

// Where column `begin` of `token` is.
std::size_t FirstOf(const QuantizedRows& x, int token, int begin) {
  return static_cast<std::size_t>(token) * static_cast<std::size_t>(x.stride) +
         static_cast<std::size_t>(begin);
}

// Where the dots of a run begin: what the zero of the weights adds is taken off.
template <class Format>
__m256i StartOf(const QuantizedRows& x, std::size_t first) {
  static_assert(Format::kZero == 0 || Format::kRun == 32);
  if constexpr (Format::kZero == 0) {
    return _mm256_setzero_si256();
  } else {
    return _mm256_set1_epi32(-Format::kZero * x.whole_sums[first / 32]);
  }
}

// Adds a run that begins at activation `first` to the sums of its lane.
template <class Format>
[[gnu::always_inline]] inline void AddDots(const QuantizedRows& x, std::size_t first,
                                           const __m256i (&dots)[kHalves],
                                           const __m256 (&scales)[kHalves],
                                           const __m256 (&offsets)[kHalves],
                                           __m256 (&sums)[kHalves]) {
  const __m256 scale = _mm256_set1_ps(x.scales[first / 32]);
  __m256 of_run = _mm256_setzero_ps();
  if constexpr (Format::kHasOffsets) {
    of_run = _mm256_set1_ps(Format::kRun == 16 ? x.sums16[first / 16] : x.sums32[first / 32]);
  }
  for (int half = 0; half < kHalves; ++half) {
    __m256 sum = sums[half];
    if constexpr (Format::kHasOffsets) sum = _mm256_fmadd_ps(offsets[half], of_run, sum);
    sums[half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[half]),
                                 ScalesOfRun<Format>(scales[half], scale), sum);
  }
}

template <class Format>
void StoreSums(const MatMulTile& tile, int row, int token, const GroupSums& sums) {
  const __m256 step = _mm256_set1_ps(StepOf<Format>(tile.quantized, token));
  float* out = tile.out + token * tile.out_stride + row;
  for (int half = 0; half < kHalves; ++half) {
    const auto pair = [&](int lane) {
      return _mm256_add_ps(sums[lane][half], sums[lane + 4][half]);
    };
    const __m256 sum =
        _mm256_add_ps(_mm256_add_ps(pair(0), pair(2)), _mm256_add_ps(pair(1), pair(3)));
    _mm256_storeu_ps(out + 8 * half, _mm256_mul_ps(sum, step));
  }
}

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
