// Several tokens with matrices whose rows are in order: sixteen of them, a row in each lane, as
// matrices in groups have them. Only avx2_products.h includes this; avx2_row_product.h says what a
// Format has. One that is unsigned also has kAddable (avx2_group_sums.h).
#pragma once

#include <immintrin.h>

#include "backend/cpu/x86/avx2_panel.h"
#include "backend/cpu/x86/avx2_row_product.h"
#include "backend/cpu/x86/fetch_ahead.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

constexpr int kRowsOfHalf = 8;

// Exchanges rows and columns of 8 x 8 words.
void Transpose(__m256i (&rows)[kRowsOfHalf]) {
  __m256i fours[kRowsOfHalf];
  for (int i = 0; i < 8; i += 4) {
    const __m256i a = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
    const __m256i b = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
    const __m256i c = _mm256_unpacklo_epi32(rows[i + 2], rows[i + 3]);
    const __m256i d = _mm256_unpackhi_epi32(rows[i + 2], rows[i + 3]);
    // Half h of fours[i + j] is column 4 * h + j of rows i to i + 3.
    fours[i] = _mm256_unpacklo_epi64(a, c);
    fours[i + 1] = _mm256_unpackhi_epi64(a, c);
    fours[i + 2] = _mm256_unpacklo_epi64(b, d);
    fours[i + 3] = _mm256_unpackhi_epi64(b, d);
  }
  for (int j = 0; j < 4; ++j) {
    rows[j] = _mm256_permute2x128_si256(fours[j], fours[4 + j], 0x20);
    rows[4 + j] = _mm256_permute2x128_si256(fours[j], fours[4 + j], 0x31);
  }
}

template <class Format>
consteval int AddableOf() {
  if constexpr (Format::kSigned) {
    return 1;
  } else {
    return Format::kAddable;
  }
}

// A row format as panels read it.
template <class Format>
struct InPanels {
  static constexpr int kRun = Format::kRun;
  static constexpr bool kReadsResiduals = Format::kReadsResiduals;
  static constexpr bool kSigned = Format::kSigned;
  static constexpr bool kHasOffsets = !Format::kSigned;
  static constexpr int kZero = 0;
  static constexpr int kAddable = AddableOf<Format>();
};

template <class Format>
struct RowPanel {
  using Product = PanelProduct<InPanels<Format>>;
  using Panel = typename Product::Panel;
  using Head = typename Format::Head;
  static constexpr int kRunsOfVector = 32 / Format::kRun;
  // From so many on unpacking a chunk pays.
  static constexpr int kLeastTokens = 6;

  // A chunk of half of the rows.
  struct Chunk {
    const Byte* first;
    std::size_t row_bytes;
    int vectors;  // of 32 columns
    int half;

    const Byte* Row(int row) const { return first + static_cast<std::size_t>(row) * row_bytes; }
  };

  static __m256i WeightsOf(const Weights& weights) {
    return Format::kSigned ? _mm256_sign_epi8(weights.sizes, weights.signs) : weights.sizes;
  }

  static void UnpackVector(const Chunk& chunk, const Head (&heads)[kRowsOfHalf], int vector,
                           Panel& out) {
    __m256i rows[kRowsOfHalf];
    for (int r = 0; r < kRowsOfHalf; ++r) {
      rows[r] = WeightsOf(Format::Values(chunk.Row(r), heads[r], vector));
    }
    Transpose(rows);
    constexpr int kWordsOfRun = Format::kRun / 4;
    for (int i = 0; i < 8; ++i) {
      const int run = vector * kRunsOfVector + i / kWordsOfRun;
      Product::SetWord(out.runs[run], i % kWordsOfRun, chunk.half, rows[i]);
    }
  }

  // Eight floats of each row, `of_row(r)` where they are, become registers with a row in each lane.
  template <class OfRow>
  static void UnpackFloats(OfRow of_row, int half, __m256 (*out)[kHalves]) {
    __m256i rows[kRowsOfHalf];
    for (int r = 0; r < kRowsOfHalf; ++r) rows[r] = Load32(of_row(r));
    Transpose(rows);
    for (int i = 0; i < 8; ++i) out[i][half] = _mm256_castsi256_ps(rows[i]);
  }

  static void UnpackHalf(const Chunk& chunk, Panel& out) {
    Head heads[kRowsOfHalf];
    for (int r = 0; r < kRowsOfHalf; ++r) {
      Format::Load(chunk.Row(r), chunk.vectors, heads[r]);
      FetchAhead<kSecondLevel>(chunk.Row(r) + Format::kChunkBytes,
                               static_cast<int>(Format::kChunkBytes));
    }
    for (int v = 0; v < chunk.vectors; ++v) UnpackVector(chunk, heads, v, out);
    for (int run = 0; run < Product::kRuns; run += 8) {
      UnpackFloats([&](int r) { return heads[r].scales + run; }, chunk.half,
                   out.scales.scales + run);
      if constexpr (!Format::kSigned) {
        UnpackFloats([&](int r) { return heads[r].offsets + run; }, chunk.half,
                     out.scales.offsets + run);
      }
    }
  }

  // Sixteen rows from `row` on.
  [[gnu::noinline]] static void AllTokens(const MatMulTile& tile, int row) {
    Product::AllTokens(tile, row, [&](int begin, Panel& panel) {
      const int left = tile.cols - begin;
      const int vectors = (left < kChunk ? left : kChunk) / 32;
      panel.count = vectors * kRunsOfVector;
      for (int half = 0; half < kHalves; ++half) {
        const Byte* first = tile.weights +
                            static_cast<std::size_t>(row + kRowsOfHalf * half) * tile.row_bytes +
                            static_cast<std::size_t>(begin / kChunk) * Format::kChunkBytes;
        UnpackHalf({first, tile.row_bytes, vectors, half}, panel);
      }
    });
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
