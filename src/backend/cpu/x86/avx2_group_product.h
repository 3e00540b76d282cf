// One token with matrices in groups of sixteen rows: a run's weights are unpacked word by word as
// they are multiplied, for both halves of the rows, which share what is loaded of activations. Only
// avx2_products.h includes this; avx2_group_sums.h says what a Format has.
#pragma once

#include <immintrin.h>

#include "backend/cpu/x86/avx2_group_sums.h"
#include "backend/cpu/x86/fetch_ahead.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

template <class Format>
struct GroupProduct {
  using Shape = GroupShape<Format>;
  using Dots = __m256i[kHalves];

  // The words from `begin` on that one register adds up.
  [[gnu::always_inline]] static void AddWords(const GroupChunk& chunk, int run,
                                              const QuantizedRows& x, std::size_t first, int begin,
                                              Dots& dots) {
    Dots sums;
    Dots of_residuals;
#pragma GCC unroll 8
    for (int i = begin; i < begin + Shape::kAddable; ++i) {
      const auto add = [i, begin](__m256i& sum, __m256i word, __m256i activations) {
        sum = MoreProducts<Format>(sum, i == begin, word, activations);
      };
      const std::size_t at = first + static_cast<std::size_t>(4 * i);
      const __m256i four = WordOfAll(x.values + at);
      for (int half = 0; half < kHalves; ++half) {
        const __m256i word = InRegister(Format::Word(chunk, run, half, i));
        add(sums[half], word, four);
        if constexpr (Format::kReadsResiduals) {
          add(of_residuals[half], word, WordOfAll(x.residuals + at));
        }
      }
    }
    for (int half = 0; half < kHalves; ++half) {
      dots[half] = AddSum < Format::kReadsResiduals ? 8 : 0 > (dots[half], sums[half]);
      if constexpr (Format::kReadsResiduals) {
        dots[half] = AddSum<0>(dots[half], of_residuals[half]);
      }
    }
  }

  // The processor's own prefetcher does not follow the order in which the parts of blocks of 256
  // values are read, and with VNNI it comes late for the others. How far ahead is a matter of
  // measuring (docs/kernels.md).
  [[gnu::always_inline]] static void FetchForVnni(const Byte* chunk) {
    constexpr int kAhead = Format::kBlocks == 1 ? Shape::kBytesOfChunk : 4096;
    FetchAhead<kSecondLevel>(chunk + kAhead, Shape::kBytesOfChunk);
  }

  // A run's share, without VNNI: in two steps, since the first-level cache is too small for what
  // is on its way from memory.
  [[gnu::always_inline]] static void FetchShare(const Byte* chunk, int run) {
    constexpr int kFromMemory = 12288;
    constexpr int kFromSecondLevel = 3360;
    const Byte* share = chunk + run * Shape::kBytesOfRun;
    FetchAhead<kSecondLevel>(share + kFromMemory, Shape::kBytesOfRun);
    FetchAhead<kFirstLevel>(share + kFromSecondLevel, Shape::kBytesOfRun);
  }

  [[gnu::always_inline]] static void AddChunk(const QuantizedRows& x, const GroupChunk& chunk,
                                              std::size_t first, GroupSums& sums) {
    if constexpr (kHasVnni) FetchForVnni(chunk.data);
    GroupScales scales;
    Format::Load(chunk, scales);
    // What compilers would keep from run to run does not fit in registers.
    __asm__("" : "+m"(scales));
    const auto add = [&](int run) __attribute__((always_inline)) {
      GroupChunk again = chunk;
      __asm__("" : "+r"(again.data));
      if constexpr (!kHasVnni && Format::kFetchesAhead) FetchShare(chunk.data, run);
      // Runs that compilers mix do not fit in registers either.
      __asm__ volatile("" ::: "memory");
      const std::size_t at = first + static_cast<std::size_t>(run * Format::kRun);
      Dots dots = {StartOf<Format>(x, at), StartOf<Format>(x, at)};
#pragma GCC unroll 8
      for (int i = 0; i < Shape::kWords; i += Shape::kAddable) {
        AddWords(again, run, x, at, i, dots);
      }
      AddDots<Format>(x, at, dots, scales.scales[run], scales.offsets[run],
                      sums[run % kLanesOfSums]);
    };
    if constexpr (Format::kBlocks == 1) {
#pragma GCC unroll 16
      for (int run = 0; run < Shape::kRuns; ++run) add(run);
    } else {
      for (int run = 0; run < chunk.blocks; ++run) add(run);
    }
  }

  // The group of rows from `row` on.
  [[gnu::noinline]] static void Run(const MatMulTile& tile, int row, int token) {
    GroupSums sums;
    __builtin_memset(&sums, 0, sizeof(sums));
    // A copy, which no store can change.
    const QuantizedRows x = tile.quantized;
    for (int begin = 0; begin < tile.cols; begin += kColumnsOfChunk) {
      AddChunk(x, ChunkAt<Format>(tile, row, begin), FirstOf(x, token, begin), sums);
    }
    StoreSums<Format>(tile, row, token, sums);
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
