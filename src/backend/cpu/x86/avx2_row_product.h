// One or two rows of quantised weights at a time, with a register for 32 of them. Only
// avx2_products.h includes this; see there for the order of sums.
//
// A Format has
//   kRun               values that share a scale, 32 or 16
//   kSigned            whether weights are signed; unsigned ones have offsets
//   kReadsResiduals    whether the activations have 16 bits
//   kChunkBytes        of 256 values
//   Head, Load(chunk, vectors, head)  what is unpacked once for a chunk of so many 32 values
//   head.scales, head.offsets         of its runs, zeros beyond them
//   Values(chunk, head, sub)          values 32 * sub and on
// and if it is faster, kLoadsAhead: for one token a chunk is loaded before the one before it is
// multiplied, whose products would wait for it otherwise.
#pragma once

#include <immintrin.h>

#include "backend/cpu/activation_step.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/avx2_dot.h"
#include "backend/cpu/x86/avx2_formats.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

constexpr int kChunk = 256;  // columns
constexpr int kVectorsOfChunk = kChunk / 32;

// What the products of a run are multiplied with.
template <class Format>
__m256 ScalesOfRun(__m256 of_weights, __m256 of_activations) {
  return Format::kReadsResiduals ? of_weights : _mm256_mul_ps(of_weights, of_activations);
}

// The lanes' sum: the upper half is added to the lower, and again.
float AddLanes(__m256 a) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// Dot products of each four neighbours.
template <bool kSigned>
__m256i Product(const Weights& weights, __m256i activations) {
  // The weight's sign moves to the activation, since one side has to be unsigned.
  const __m256i others = kSigned ? _mm256_sign_epi8(activations, weights.signs) : activations;
  return AddProducts(_mm256_setzero_si256(), weights.sizes, others);
}

// Sums of the four lanes of each half: those of the lower halves, then those of the upper ones.
__m256i AddFours(const __m256i (&dots)[4]) {
  const __m256i first = _mm256_add_epi32(_mm256_unpacklo_epi32(dots[0], dots[1]),
                                         _mm256_unpackhi_epi32(dots[0], dots[1]));
  const __m256i second = _mm256_add_epi32(_mm256_unpacklo_epi32(dots[2], dots[3]),
                                          _mm256_unpackhi_epi32(dots[2], dots[3]));
  return _mm256_add_epi32(_mm256_unpacklo_epi64(first, second),
                          _mm256_unpackhi_epi64(first, second));
}

// The first `count` of eight values, zeros after them.
__m256 LoadUpTo8(const float* from, int count) {
  const __m256i there =
      _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  return _mm256_maskload_ps(from, there);
}

template <class Format>
struct RowProduct {
  static constexpr int kRows = 2;
  static constexpr bool kLoadsAhead = requires { Format::kLoadsAhead; };
  static constexpr int kEights = 32 / Format::kRun;  // registers with a lane for each run

  using Head = typename Format::Head;

  // The weights of a chunk: unpacked when they are used, or once for several tokens.
  struct AsStored {
    const Byte* chunk;
    const Head& head;
    Weights operator[](int sub) const { return Format::Values(chunk, head, sub); }
  };
  struct Unpacked {
    Weights weights[kVectorsOfChunk];
    const Weights& operator[](int sub) const { return weights[sub]; }

    void Load(const AsStored& from, int vectors) {
#pragma GCC unroll 8
      for (int sub = 0; sub < kVectorsOfChunk; ++sub) {
        weights[sub] = sub < vectors ? from[sub] : Weights{};
      }
    }
  };

  static __m256i Dot(const Weights& weights, const QuantizedRows& x, std::ptrdiff_t first) {
    const __m256i dot = Product<Format::kSigned>(weights, Load32(x.values + first));
    if constexpr (!Format::kReadsResiduals) return dot;
    const __m256i small = Product<Format::kSigned>(weights, Load32(x.residuals + first));
    return _mm256_add_epi32(_mm256_slli_epi32(dot, 8), small);
  }

  // A lane for each run.
  template <bool kWhole, class Values>
  static void Dots(const Values& weights, const QuantizedRows& x, std::ptrdiff_t first, int vectors,
                   __m256i (&out)[kEights]) {
    __m256i halves[2];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m256i dots[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const int sub = 4 * half + i;
        dots[i] = kWhole || sub < vectors ? Dot(weights[sub], x, first + 32 * sub)
                                          : _mm256_setzero_si256();
      }
      halves[half] = AddFours(dots);
    }
    if constexpr (Format::kRun == 32) {
      out[0] = _mm256_add_epi32(_mm256_permute2x128_si256(halves[0], halves[1], 0x20),
                                _mm256_permute2x128_si256(halves[0], halves[1], 0x31));
    } else {
      const __m256i in_turn = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
      for (int i = 0; i < 2; ++i) out[i] = _mm256_permutevar8x32_epi32(halves[i], in_turn);
    }
  }

  // Of the runs of register `eight`.
  static __m256 ActivationScales(__m256 of_vectors, int eight) {
    if constexpr (Format::kRun == 32) return of_vectors;
    const __m256i twice = eight == 0 ? _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)
                                     : _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7);
    return _mm256_permutevar8x32_ps(of_vectors, twice);
  }

  template <bool kWhole, class Values>
  static __m256 AddChunk(const Head& head, const Values& weights, const QuantizedRows& x,
                         std::ptrdiff_t first, int vectors, __m256 sum) {
    const auto load = [vectors](const float* from) {
      return kWhole ? _mm256_loadu_ps(from) : LoadUpTo8(from, vectors);
    };
    __m256i dots[kEights];
    Dots<kWhole>(weights, x, first, vectors, dots);
    const __m256 of_vectors = load(x.scales + first / 32);
    for (int eight = 0; eight < kEights; ++eight) {
      if constexpr (!Format::kSigned) {
        const float* sums = Format::kRun == 16 ? x.sums16 + first / 16 : x.sums32 + first / 32;
        sum =
            _mm256_fmadd_ps(_mm256_loadu_ps(head.offsets + 8 * eight), load(sums + 8 * eight), sum);
      }
      const __m256 scales = ScalesOfRun<Format>(_mm256_loadu_ps(head.scales + 8 * eight),
                                                ActivationScales(of_vectors, eight));
      sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[eight]), scales, sum);
    }
    return sum;
  }

  // One row of the chunk that begins at column `begin`.
  template <bool kWhole, int N>
  static void AddRow(const MatMulTile& tile, const Byte* chunk, int begin, int token,
                     __m256 (&sums)[N]) {
    const int vectors = kWhole ? kVectorsOfChunk : (tile.cols - begin) / 32;
    Head head;
    Format::Load(chunk, vectors, head);
    const AsStored stored{chunk, head};
    const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token) * tile.quantized.stride + begin;
    if constexpr (N == 1) {
      sums[0] = AddChunk<kWhole>(head, stored, tile.quantized, first, vectors, sums[0]);
    } else {
      Unpacked unpacked;
      unpacked.Load(stored, vectors);
      for (int n = 0; n < N; ++n) {
        const std::ptrdiff_t at = first + static_cast<std::ptrdiff_t>(n) * tile.quantized.stride;
        sums[n] = AddChunk<kWhole>(head, unpacked, tile.quantized, at, vectors, sums[n]);
      }
    }
  }

  template <bool kWhole, int R, int N>
  static void Add(const MatMulTile& tile, const Byte* chunk, int begin, int token,
                  __m256 (&sums)[R][N]) {
    for (int r = 0; r < R; ++r) {
      const Byte* of_row = chunk + static_cast<std::size_t>(r) * tile.row_bytes;
      AddRow<kWhole>(tile, of_row, begin, token, sums[r]);
    }
  }

  // Whole chunks of one row and token. Returns the column after them.
  static int AddLoadedAhead(const MatMulTile& tile, const Byte* chunk, std::ptrdiff_t first,
                            __m256& sum) {
    const int chunks = tile.cols / kChunk;
    Head heads[2];
    if (chunks > 0) Format::Load(chunk, kVectorsOfChunk, heads[0]);
    for (int i = 0; i < chunks; ++i, chunk += Format::kChunkBytes) {
      const Head& head = heads[i % 2];
      if (i + 1 < chunks) {
        Format::Load(chunk + Format::kChunkBytes, kVectorsOfChunk, heads[(i + 1) % 2]);
      }
      sum = AddChunk<true>(head, AsStored{chunk, head}, tile.quantized, first + i * kChunk,
                           kVectorsOfChunk, sum);
    }
    return chunks * kChunk;
  }

  template <int R, int N>
  static void Block(const MatMulTile& tile, int row, int token) {
    __m256 sums[R][N];
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) sums[r][n] = _mm256_setzero_ps();
    }
    const Byte* chunk = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    int begin = 0;
    if constexpr (kLoadsAhead && R == 1 && N == 1) {
      const auto first = static_cast<std::ptrdiff_t>(token) * tile.quantized.stride;
      begin = AddLoadedAhead(tile, chunk, first, sums[0][0]);
      chunk += static_cast<std::size_t>(begin / kChunk) * Format::kChunkBytes;
    }
    for (; begin + kChunk <= tile.cols; begin += kChunk, chunk += Format::kChunkBytes) {
      Add<true, R, N>(tile, chunk, begin, token, sums);
    }
    if (begin < tile.cols) Add<false, R, N>(tile, chunk, begin, token, sums);
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) {
        tile.out[(token + n) * tile.out_stride + row + r] =
            AddLanes(sums[r][n]) * StepOf<Format>(tile.quantized, token + n);
      }
    }
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
