// Sixteen rows at a time from matrices in groups (row_groups.h): a register holds four weights of
// each of eight rows, and meets the same four activations in all lanes. Only avx2_products.h
// includes this; see there for the order of sums.
//
// A Format has
//   kRun               values that share a scale, 32 or 16
//   kBytes, kBlocks    of a block, and blocks in a chunk of 256 values
//   kReadsResiduals    whether the activations have 16 bits
//   kSigned            whether weights are signed
//   kZero              how much more than weights stand for is in Words
//   kAddable           products of pairs of unsigned weights that int16 can add up, without VNNI;
//                      they divide the words of a run
//   kHasOffsets        whether GroupScales has offsets
//   kFetchesAhead      whether weights are fetched ahead without VNNI, too
//   Load(chunk, scales)               what is unpacked once for a chunk
//   Words(chunk, run, half, words)    the weights of a run of eight rows
#pragma once

#include <immintrin.h>

#include "backend/cpu/group_chunk.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/avx2_row_product.h"
#include "backend/cpu/x86/fetch_ahead.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// Of the runs of a chunk, for each half of the rows.
struct GroupScales {
  __m256 scales[16][2];
  __m256 offsets[16][2];
};

// Four activations in each lane.
__m256i FourOfAll(const std::int8_t* from) {
  int word;
  __builtin_memcpy(&word, from, sizeof(word));
  return _mm256_set1_epi32(word);
}

template <class Format>
struct GroupProduct {
  // Whose sums and activations stay in the first-level cache.
  static constexpr int kTokens = 16;
  static constexpr int kWords = Format::kRun / 4;
  // Halves of the rows whose words fit in registers.
  static constexpr int kTogether = 32 / Format::kRun;
  static constexpr int kColumnsOfBlock = kColumnsOfChunk / Format::kBlocks;

  static constexpr int kBytesOfChunk = kRowsOfGroup * Format::kBlocks * Format::kBytes;
  static constexpr int kBytesOfRun = kBytesOfChunk * Format::kRun / kColumnsOfChunk;

  using Words = __m256i[kWords];
  // [token][lane][half]: a row in each lane of the register.
  using Sums = __m256[kTokens][8][2];
  static constexpr int kSumsOfToken = 16;

  static __m256i Pairs(__m256i words, const std::int8_t* x) {
    if constexpr (Format::kSigned) {
      return _mm256_maddubs_epi16(_mm256_abs_epi8(words), _mm256_sign_epi8(FourOfAll(x), words));
    }
    return _mm256_maddubs_epi16(words, FourOfAll(x));
  }

  // A product waits for the one before it of the same sum, so that there are two sums.
  static __m256i VnniDot(const Words& words, const std::int8_t* x) {
    static_assert(!kHasVnni || !Format::kSigned);
    __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
#pragma GCC unroll 8
    for (int i = 0; i < kWords; ++i) {
      sums[i % 2] = AddProducts(sums[i % 2], words[i], FourOfAll(x + 4 * i));
    }
    return _mm256_add_epi32(sums[0], sums[1]);
  }

  // The run's dot products with the activations from `x` on.
  static __m256i Dot(const Words& words, const std::int8_t* x) {
    if constexpr (kHasVnni) return VnniDot(words, x);
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int first = 0; first < kWords; first += Format::kAddable) {
      __m256i pairs = Pairs(words[first], x + 4 * first);
#pragma GCC unroll 8
      for (int i = first + 1; i < first + Format::kAddable; ++i) {
        pairs = _mm256_add_epi16(pairs, Pairs(words[i], x + 4 * i));
      }
      const __m256i dots = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
      sum = first == 0 ? dots : _mm256_add_epi32(sum, dots);
    }
    return sum;
  }

  static __m256i WholeDot(const Words& words, const QuantizedRows& x, std::size_t first) {
    __m256i dot = Dot(words, x.values + first);
    if constexpr (Format::kReadsResiduals) {
      dot = _mm256_add_epi32(_mm256_slli_epi32(dot, 8), Dot(words, x.residuals + first));
    }
    if constexpr (Format::kZero != 0) {
      static_assert(Format::kRun == 32);
      const __m256i too_much = _mm256_mullo_epi32(_mm256_set1_epi32(x.whole_sums[first / 32]),
                                                  _mm256_set1_epi32(Format::kZero));
      dot = _mm256_sub_epi32(dot, too_much);
    }
    return dot;
  }

  // A run of kTogether halves of the rows for `tokens` tokens, whose activations are at `first` and
  // every x.stride on. Activations are read once for all halves.
  [[gnu::always_inline]] static void AddRun(const QuantizedRows& x, const Words (&words)[kTogether],
                                            const __m256* scales, const __m256* offsets,
                                            std::size_t first, int tokens, __m256* sums) {
    const auto cols = static_cast<std::size_t>(x.stride);
    for (int t = 0; t < tokens; ++t, first += cols, sums += kSumsOfToken) {
      __m256i dots[kTogether];
      for (int h = 0; h < kTogether; ++h) dots[h] = WholeDot(words[h], x, first);
      __m256 activation_scale = _mm256_set1_ps(x.scales[first / 32]);
      if constexpr (Format::kReadsResiduals) {
        activation_scale = _mm256_mul_ps(activation_scale, _mm256_set1_ps(kStep<Format>));
      }
      __m256 of_run = _mm256_setzero_ps();
      if constexpr (Format::kHasOffsets) {
        of_run = _mm256_set1_ps(Format::kRun == 16 ? x.sums16[first / 16] : x.sums32[first / 32]);
      }
      for (int h = 0; h < kTogether; ++h) {
        __m256 sum = sums[h];
        if constexpr (Format::kHasOffsets) sum = _mm256_fmadd_ps(offsets[h], of_run, sum);
        sums[h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[h]),
                                  _mm256_mul_ps(scales[h], activation_scale), sum);
      }
    }
  }

  // The processor's own prefetcher does not follow the order in which the parts of blocks of 256
  // values are read, and with VNNI it comes late for the others. How far ahead is a matter of
  // measuring (docs/kernels.md).
  [[gnu::always_inline]] static void FetchForVnni(const Byte* chunk) {
    constexpr int kAhead = Format::kBlocks == 1 ? kBytesOfChunk : 4096;
    FetchAhead<kSecondLevel>(chunk + kAhead, kBytesOfChunk);
  }

  // A run's share, without VNNI: in two steps, since the first-level cache is too small for what
  // is on its way from memory.
  [[gnu::always_inline]] static void FetchShare(const Byte* chunk, int run) {
    constexpr int kFromMemory = 12288;
    constexpr int kFromSecondLevel = 3360;
    const Byte* share = chunk + run * kBytesOfRun;
    FetchAhead<kSecondLevel>(share + kFromMemory, kBytesOfRun);
    FetchAhead<kFirstLevel>(share + kFromSecondLevel, kBytesOfRun);
  }

  [[gnu::always_inline]] static void AddChunk(const MatMulTile& tile, const GroupChunk& chunk,
                                              int begin, int token, int tokens, Sums& sums) {
    if constexpr (kHasVnni) FetchForVnni(chunk.data);
    GroupScales scales;
    Format::Load(chunk, scales);
    // What compilers would keep from run to run does not fit in registers.
    __asm__("" : "+m"(scales));
    // A copy, which no store can change.
    const QuantizedRows x = tile.quantized;
    const std::size_t first = static_cast<std::size_t>(token) * static_cast<std::size_t>(x.stride) +
                              static_cast<std::size_t>(begin);
    const auto add = [&](int run) __attribute__((always_inline)) {
      GroupChunk again = chunk;
      __asm__("" : "+r"(again.data));
      if constexpr (!kHasVnni && Format::kFetchesAhead) FetchShare(chunk.data, run);
      // Runs that compilers mix do not fit in registers either.
      __asm__ volatile("" ::: "memory");
      for (int half = 0; half < 2; half += kTogether) {
        Words words[kTogether];
        for (int h = 0; h < kTogether; ++h) Format::Words(again, run, half + h, words[h]);
        AddRun(x, words, &scales.scales[run][half], &scales.offsets[run][half],
               first + static_cast<std::size_t>(run * Format::kRun), tokens,
               &sums[0][run % 8][half]);
      }
    };
    if constexpr (Format::kBlocks == 1) {
#pragma GCC unroll 16
      for (int run = 0; run < kColumnsOfChunk / Format::kRun; ++run) add(run);
    } else {
      for (int run = 0; run < chunk.blocks; ++run) add(run);
    }
  }

  static __m256 AddRuns(const Sums& sums, int t, int half) {
    const auto pair = [&](int lane) {
      return _mm256_add_ps(sums[t][lane][half], sums[t][lane + 4][half]);
    };
    return _mm256_add_ps(_mm256_add_ps(pair(0), pair(2)), _mm256_add_ps(pair(1), pair(3)));
  }

  // The group of rows from `row` on.
  [[gnu::always_inline]] static void Run(const MatMulTile& tile, int row, int token, int tokens) {
    Sums sums;
    __builtin_memset(&sums, 0, static_cast<std::size_t>(tokens) * sizeof(sums[0]));
    const Byte* at = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    for (int begin = 0; begin < tile.cols; begin += kColumnsOfChunk) {
      const int left = tile.cols - begin;
      const GroupChunk chunk{at,
                             (left < kColumnsOfChunk ? left : kColumnsOfChunk) / kColumnsOfBlock};
      AddChunk(tile, chunk, begin, token, tokens, sums);
      at += kRowsOfGroup * chunk.blocks * Format::kBytes;
    }
    for (int t = 0; t < tokens; ++t) {
      float* out = tile.out + (token + t) * tile.out_stride + row;
      for (int half = 0; half < 2; ++half) _mm256_storeu_ps(out + 8 * half, AddRuns(sums, t, half));
    }
  }

  // A loop over one token would take a quarter of the time.
  [[gnu::noinline]] static void RunOne(const MatMulTile& tile, int row, int token) {
    Run(tile, row, token, 1);
  }
  [[gnu::noinline]] static void RunSome(const MatMulTile& tile, int row, int token, int tokens) {
    Run(tile, row, token, tokens);
  }

  static void AllTokens(const MatMulTile& tile, int row) {
    for (int token = 0; token < tile.tokens; token += kTokens) {
      const int left = tile.tokens - token;
      if (left == 1) {
        RunOne(tile, row, token);
      } else {
        RunSome(tile, row, token, left < kTokens ? left : kTokens);
      }
    }
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
