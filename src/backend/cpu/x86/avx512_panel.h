// Sixteen rows of quantised weights, a row in each lane: what the products over them share. Only
// the products' headers include this; see avx512_quant.cc for the order of sums.
#pragma once

#include <immintrin.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/avx512_chunks.h"
#include "backend/cpu/x86/avx512_formats.h"
#include "backend/cpu/x86/avx512_group_formats.h"
#include "backend/cpu/x86/fetch_ahead.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// Exchanges rows and columns of 16 x 16 words.
void Transpose(__m512i (&rows)[16]) {
  __m512i pairs[16];
  for (int i = 0; i < 16; i += 4) {
    const __m512i a = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    const __m512i b = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    const __m512i c = _mm512_unpacklo_epi32(rows[i + 2], rows[i + 3]);
    const __m512i d = _mm512_unpackhi_epi32(rows[i + 2], rows[i + 3]);
    // Quarter q of pairs[i + j] is column 4 * q + j of rows i to i + 3.
    pairs[i] = _mm512_unpacklo_epi64(a, c);
    pairs[i + 1] = _mm512_unpackhi_epi64(a, c);
    pairs[i + 2] = _mm512_unpacklo_epi64(b, d);
    pairs[i + 3] = _mm512_unpackhi_epi64(b, d);
  }
  for (int j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(pairs[j], pairs[4 + j], 0x88);
    const __m512i b = _mm512_shuffle_i32x4(pairs[j], pairs[4 + j], 0xdd);
    const __m512i c = _mm512_shuffle_i32x4(pairs[8 + j], pairs[12 + j], 0x88);
    const __m512i d = _mm512_shuffle_i32x4(pairs[8 + j], pairs[12 + j], 0xdd);
    rows[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    rows[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    rows[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    rows[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
}

// A chunk of sixteen rows, in order or as a group.
struct ChunkOfRows {
  const Byte* bytes;
  std::size_t row_bytes;
  bool grouped;
  int runs;

  const Byte* Row(int row) const { return bytes + static_cast<std::size_t>(row) * row_bytes; }
};

// Calls keep(word, weights) for each four weights of some pairs of runs of rows in order, with a
// row in each lane, as Format::Values has them.
template <class Format, int kPairs, class Keep>
[[gnu::always_inline]] inline void TurnValues(const ChunkOfRows& chunk, int first_pair,
                                              const Keep& keep) {
  __m512i values[kPairs][16];
  for (int r = 0; r < 16; ++r) {
    for (int pair = 0; pair < kPairs; ++pair) {
      values[pair][r] = chunk.runs == kLanesOf<Format>
                            ? Format::Values(chunk.Row(r), first_pair + pair)
                            : ValuesUpTo<Format>(chunk.Row(r), first_pair + pair, chunk.runs);
    }
  }
  for (int pair = 0; pair < kPairs; ++pair) {
    Transpose(values[pair]);
    for (int i = 0; i < 16; ++i) keep(16 * (first_pair + pair) + i, values[pair][i]);
  }
}

// What takes back the 128 that unsigned activations have too much: a number of the weights alone,
// four of each row in each of the words, whose count is a multiple of kSums. A product waits for
// the one before it of the same sum.
template <int kSums>
__m512i TakingBack128(const __m512i* words, int count) {
  __m512i sums[kSums];
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  for (int i = 0; i < count; i += kSums) {
    for (int j = 0; j < kSums; ++j) {
      sums[j] = _mm512_dpbusd_epi32(sums[j], _mm512_set1_epi8(-128), words[i + j]);
    }
  }
  __m512i left = _mm512_setzero_si512();
  for (const auto& sum : sums) left = _mm512_sub_epi32(left, sum);
  return left;
}

// From chunk to chunk of sixteen rows.
template <class Format>
int ChunkStep(const MatMulTile& tile) {
  return tile.grouped ? 16 * Format::kChunkBytes : Format::kChunkBytes;
}

// How many panels to take together from `row` on.
template <class Product>
int PanelsAt(const MatMulTile& tile, int row) {
  const int left = (tile.rows - row) / 16;
  return left < Product::kPanels ? left : Product::kPanels;
}

// Multiplies all whole panels of the tile, and returns the first row that is left over.
template <class Of, class Product>
int MultiplyRows(const MatMulTile& tile, Product& product) {
  int row = 0;
  while (const int count = PanelsAt<Product>(tile, row)) {
    Of::MultiplyPanels(tile, row, count, product);
    row += count * 16;
  }
  return row;
}

template <class Format>
struct Panels {
  static constexpr int kRows = 16;
  static constexpr int kLanes = kLanesOf<Format>;
  static constexpr int kWords = Format::kRun / 4;
  // Unpacked together: 32 KiB of weights, which stay in the second-level cache while all tokens
  // pass.
  static constexpr int kChunks = 8;
  // Weights around a zero are signed here.
  static constexpr bool kSigned = Format::kZero != 0;
  // Unpacked in one go.
  static constexpr int kLanesAtOnce = 8;
  static constexpr int kPairsAtOnce = kLanesAtOnce * Format::kRun / 64;

  // A run of sixteen rows: words of four weights, and scales, of all rows side by side.
  struct Run {
    __m512i words[kWords];
    __m512 scales;
    __m512 offsets;  // of signed weights: what the product keeps there
  };

  // Some chunks of sixteen rows.
  struct Panel {
    Run runs[kLanes][kChunks];
    // Panels that are read together would want the same places of the first-level cache if they
    // began a multiple of 4 KiB apart.
    __m512i gap;
  };

  // [lane][token]: a register with a row in each of its lanes. One more than tokens, so that the
  // lanes of a token do not want the same places of the first-level cache.
  using Sums = __m512[kLanes][MatMulTile::kMaxTokens + 1];

  // Which chunk of which rows is unpacked, and to where.
  struct Part {
    ChunkOfRows rows;
    int index;
    Panel& panel;

    Run& RunOf(int lane) const { return panel.runs[lane][index]; }
    __m512i& Word(int lane, int i) const { return RunOf(lane).words[i]; }
  };

  static __m512i Signed(__m512i stored) {
    return _mm512_sub_epi8(stored, _mm512_set1_epi8(static_cast<char>(Format::kZero)));
  }

  static void Unpack(const Part& part) {
    if constexpr (Grouped<Format>::kExists) {
      if (part.rows.grouped) return UnpackGroup(part);
    }
    if constexpr (Format::kPairsOfNibbles) {
      UnpackNibbles(part);
    } else {
      for (int lane = 0; lane < kLanes; lane += kLanesAtOnce) UnpackValues(part, lane);
    }
    for (int lane = 0; lane < kLanes; lane += kLanesAtOnce) UnpackHeads(part, lane);
  }

  static void UnpackValues(const Part& part, int first_lane) {
    TurnValues<Format, kPairsAtOnce>(part.rows, first_lane * Format::kRun / 64,
                                     [&](int word, __m512i weights) {
                                       part.Word(word / kWords, word % kWords) = Signed(weights);
                                     });
  }

  static void UnpackGroup(const Part& part) {
    using Group = Grouped<Format>;
    __m512 scales[kLanes];
    __m512 offsets[kLanes];
    Group::LoadHeads(part.rows.bytes, part.rows.runs, scales, offsets);
    for (int lane = 0; lane < part.rows.runs; ++lane) {
      part.RunOf(lane).scales = scales[lane];
      if constexpr (!kSigned) part.RunOf(lane).offsets = offsets[lane];
    }
    for (int step = 0; step < part.rows.runs / Group::kLanesAtOnce; ++step) {
      __m512i words[Group::kLanesAtOnce][kWords];
      Group::LoadWords(part.rows.bytes, part.rows.runs, step, words);
      for (int j = 0; j < Group::kLanesAtOnce; ++j) {
        for (int i = 0; i < kWords; ++i) {
          const __m512i word = _mm512_srli_epi32(words[j][i], Group::kBitsLeft[j]);
          part.Word(Group::LaneOf(step, j), i) = Signed(word);
        }
      }
    }
  }

  // Nibbles are transposed before they are unpacked, half as many words.
  static void UnpackNibbles(const Part& part) {
    const __m512i low = _mm512_set1_epi8(15);
    for (int half = 0; half < 2; ++half) {
      __m512i words[kRows];
      for (int r = 0; r < kRows; ++r) words[r] = Format::Nibbles(part.rows.Row(r), half);
      Transpose(words);
      for (int i = 0; i < 16; ++i) {
        // The low nibbles of eight words are a run, the high ones the next.
        const int lane = 4 * half + i / kWords * 2;
        part.Word(lane, i % kWords) = _mm512_and_si512(words[i], low);
        part.Word(lane + 1, i % kWords) = _mm512_and_si512(_mm512_srli_epi32(words[i], 4), low);
      }
    }
  }

  static void UnpackHeads(const Part& part, int first_lane) {
    __m512 scales[kLanesAtOnce];
    __m512 offsets[kLanesAtOnce];
    if constexpr (Format::kHeadsOfRows) {
      Format::LoadHeads(part.rows.bytes, part.rows.row_bytes, first_lane, scales, offsets);
    } else {
      TransposeHeads(part, first_lane, scales, offsets);
    }
    for (int i = 0; i < kLanesAtOnce; ++i) {
      part.RunOf(first_lane + i).scales = scales[i];
      if constexpr (!kSigned) part.RunOf(first_lane + i).offsets = offsets[i];
    }
  }

  // Scales and offsets of eight lanes share a register.
  static void TransposeHeads(const Part& part, int first_lane, __m512 (&scales)[kLanesAtOnce],
                             __m512 (&offsets)[kLanesAtOnce]) {
    __m512i heads[kRows];
    for (int r = 0; r < kRows; ++r) {
      const Head head = Format::Load(part.rows.Row(r), part.rows.runs);
      heads[r] = _mm512_castps_si512(first_lane == 0
                                         ? _mm512_shuffle_f32x4(head.scales, head.offsets, 0x44)
                                         : _mm512_shuffle_f32x4(head.scales, head.offsets, 0xee));
    }
    Transpose(heads);
    for (int i = 0; i < kLanesAtOnce; ++i) {
      scales[i] = _mm512_castsi512_ps(heads[i]);
      offsets[i] = _mm512_castsi512_ps(heads[kLanesAtOnce + i]);
    }
  }

  // Some chunks of one or more panels, from column `begin` on.
  struct Band {
    const Panel* panels;
    int count;  // of panels
    int begin;
    int chunks;
    int last_runs;      // of the last chunk
    const Byte* ahead;  // the same chunks of the panels after these
    int count_ahead;

    int ChunksOf(int lane) const { return lane < last_runs ? chunks : chunks - 1; }
  };

  // Brings a lane's share of panel p of the next ones into the second-level cache: the processor's
  // own prefetcher does not follow sixteen rows.
  [[gnu::always_inline]] static void Prefetch(const MatMulTile& tile, const Band& band, int p,
                                              int lane) {
    const int bytes = band.chunks * Format::kChunkBytes;
    const Byte* panel = band.ahead + PanelBytes(tile, p);
    constexpr int kShare = kRows / kLanes;
    if (tile.grouped) {
      FetchAhead<kSecondLevel>(panel + kShare * lane * bytes, kShare * bytes);
      return;
    }
    for (int r = lane * kShare; r < (lane + 1) * kShare; ++r) {
      FetchAhead<kSecondLevel>(panel + static_cast<std::size_t>(r) * tile.row_bytes, bytes);
    }
  }

  // Of whole panels, all columns.
  static std::size_t PanelBytes(const MatMulTile& tile, int count) {
    return static_cast<std::size_t>(count * kRows) * tile.row_bytes;
  }

  // Multiplies `count` panels from `row` on. `product` has kPanels, the number it takes together,
  // Prepare(part), called for each chunk once it is unpacked, and AddBand(tile, band, sums) for all
  // tokens; there are sums of each panel.
  template <class Product>
  static void MultiplyPanels(const MatMulTile& tile, int row, int count, Product& product) {
    Sums sums[Product::kPanels];
    Panel panels[Product::kPanels];
    const Byte* chunk = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    for (int begin = 0; begin < tile.cols; begin += kChunks * kChunk) {
      const int left = (tile.cols - begin + kChunk - 1) / kChunk;
      const int chunks = left < kChunks ? left : kChunks;
      const Band band{.panels = panels,
                      .count = count,
                      .begin = begin,
                      .chunks = chunks,
                      .last_runs = RunsAt<Format>(tile, begin + (chunks - 1) * kChunk),
                      .ahead = chunk + PanelBytes(tile, count),
                      .count_ahead = PanelsAt<Product>(tile, row + count * kRows)};
      for (int p = 0; p < count; ++p) {
        UnpackBand(tile, band, chunk + PanelBytes(tile, p), panels[p], product);
      }
      product.AddBand(tile, band, sums);
      chunk += chunks * ChunkStep<Format>(tile);
    }
    for (int p = 0; p < count; ++p) Store(tile, row + p * kRows, sums[p]);
  }

  // The chunks of one panel.
  template <class Product>
  static void UnpackBand(const MatMulTile& tile, const Band& band, const Byte* chunk, Panel& panel,
                         Product& product) {
    for (int i = 0; i < band.chunks; ++i, chunk += ChunkStep<Format>(tile)) {
      const Part part{.rows = {.bytes = chunk,
                               .row_bytes = tile.row_bytes,
                               .grouped = tile.grouped,
                               .runs = i + 1 < band.chunks ? kLanes : band.last_runs},
                      .index = i,
                      .panel = panel};
      Unpack(part);
      product.Prepare(part);
    }
  }

  static void Store(const MatMulTile& tile, int row, const Sums& sums) {
    for (int t = 0; t < tile.tokens; ++t) {
      const __m512 step = _mm512_set1_ps(StepOf<Format>(tile.quantized, t));
      _mm512_storeu_ps(tile.out + t * tile.out_stride + row, _mm512_mul_ps(Total(sums, t), step));
    }
  }

  static __m512 Total(const Sums& sums, int token) {
    __m512 lanes[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = sums[lane][token];
    return AddLanesOfRows(lanes);
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
