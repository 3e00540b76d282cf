// Sixteen rows of a chunk whose runs share exponents, a row in each lane: what the products over
// them share. Only the products' headers include this; see avx512_shared_exponents.h for the sums.
#pragma once

#include <immintrin.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/avx512_chunks.h"
#include "backend/cpu/x86/avx512_group_product.h"
#include "backend/cpu/x86/avx512_panel.h"
#include "backend/cpu/x86/avx512_shared_exponents.h"
#include "backend/cpu/x86/fetch_ahead.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

template <class Format>
struct SharedPanels {
  static_assert(Format::kRun == 32 && Format::kReadsResiduals);
  static constexpr int kRows = 16;
  static constexpr int kRuns = kLanesOf<Format>;
  static constexpr int kWordsOfRun = Format::kRun / 4;

  // Signed weights, four of each row in a word, shifted; nothing for far runs.
  struct Panel {
    __m512i words[kRuns * kWordsOfRun];
    __m512 scales;
    __m512i offsets;  // of unsigned activations: what takes back what these have too much
  };

  using Sums = __m512[MatMulTile::kMaxTokens];

  // Of far runs, if any were met. They are rare, so that these are set to zero only then.
  struct FarSums {
    bool any = false;
    __m512 lanes[kRuns][MatMulTile::kMaxTokens];
  };

  // One chunk of one or more panels.
  struct Band {
    const Panel* panels;
    int count;  // of panels
    int begin;  // its first column
    int runs;
    const Byte* ahead[2];  // the next chunk of each panel
    int count_ahead;
  };

  // Sixteen bytes of each run, wherever the rows have them.
  struct ExponentBytes {
    Byte of_rows[kRuns][kRows];
    const Byte* data;

    explicit ExponentBytes(const ChunkOfRows& chunk) : data(of_rows[0]) {
      if (chunk.grouped) {
        data = chunk.bytes;
        return;
      }
      for (int row = 0; row < kRows; ++row) {
        const Byte* block = chunk.Row(row) + Format::kExponentAt;
        for (int run = 0; run < chunk.runs; ++run, block += Format::kBlockBytes) {
          of_rows[run][row] = *block;
        }
      }
    }
  };

  // Calls keep(word, weights) for each four weights of the chunk, as they are stored.
  template <class Keep>
  [[gnu::always_inline]] static void ForWords(const ChunkOfRows& chunk, const Keep& keep) {
    if (!chunk.grouped) {
      for (int pair = 0; pair < kRuns / 2; pair += 2) TurnValues<Format, 2>(chunk, pair, keep);
      return;
    }
    for (int run = 0; run < chunk.runs; ++run) {
      __m512i words[1][kWordsOfRun];
      Grouped<Format>::LoadWords(chunk.bytes, chunk.runs, run, words);
      for (int i = 0; i < kWordsOfRun; ++i) keep(run * kWordsOfRun + i, words[0][i]);
    }
  }

  // Returns whether there are far runs.
  static bool Unpack(const ChunkOfRows& chunk, Panel& panel) {
    const ExponentBytes bytes(chunk);
    const RowExponents exponents(bytes.data, chunk.runs);
    const SharedBase base = exponents.Base();
    __m512i shifts[kRuns];
    __m512i zeros[kRuns];
    for (int run = 0; run < chunk.runs; ++run) {
      shifts[run] = base.Shifts(exponents.Of(run));
      zeros[run] = _mm512_sllv_epi32(_mm512_set1_epi8(Format::kZero), shifts[run]);
    }
    ForWords(chunk, [&](int word, __m512i weights) {
      const int run = word / kWordsOfRun;
      panel.words[word] = _mm512_sub_epi8(_mm512_sllv_epi32(weights, shifts[run]), zeros[run]);
    });
    panel.scales = base.scales;
    return exponents.HasFar();
  }

  // Adds the far runs of the chunk, which begins at column `begin`, for all tokens.
  [[gnu::noinline]] static void AddFarRuns(const MatMulTile& tile, const ChunkOfRows& chunk,
                                           int begin, FarSums& sums) {
    const ExponentBytes bytes(chunk);
    const RowExponents exponents(bytes.data, chunk.runs);
    __m512i words[kRuns][kWordsOfRun];
    ForWords(chunk, [&](int word, __m512i weights) {
      words[word / kWordsOfRun][word % kWordsOfRun] = weights;
    });
    if (!sums.any) SetZero(sums, tile.tokens);
    for (int run = 0; run < chunk.runs; ++run) {
      const __mmask16 far = exponents.Base().Far(exponents.Of(run));
      if (far == 0) continue;
      std::ptrdiff_t first = begin + run * Format::kRun;
      for (int t = 0; t < tile.tokens; ++t, first += tile.quantized.stride) {
        const __m512i dots = GroupProduct<Format>::AllDots(words[run], tile.quantized, first);
        sums.lanes[run][t] = AddFar(sums.lanes[run][t], dots, exponents.Of(run), far);
      }
    }
  }

  static void SetZero(FarSums& sums, int tokens) {
    sums.any = true;
    for (auto& lane : sums.lanes) {
      for (int t = 0; t < tokens; ++t) lane[t] = _mm512_setzero_ps();
    }
  }

  // Brings a share of the next chunks into the second-level cache.
  [[gnu::always_inline]] static void FetchShare(const MatMulTile& tile, const Band& band, int share,
                                                int shares) {
    for (int p = 0; p < band.count_ahead; ++p) {
      for (int row = kRows * share / shares; row < kRows * (share + 1) / shares; ++row) {
        const std::size_t apart = tile.grouped ? Format::kChunkBytes : tile.row_bytes;
        FetchAhead<kSecondLevel>(band.ahead[p] + static_cast<std::size_t>(row) * apart,
                                 Format::kChunkBytes);
      }
    }
  }

  // The chunk of panel p, of those that begin at `row`, that begins at column `begin`.
  static ChunkOfRows ChunkAt(const MatMulTile& tile, int row, int p, int begin) {
    return {.bytes = tile.weights + static_cast<std::size_t>(row + p * kRows) * tile.row_bytes +
                     static_cast<std::ptrdiff_t>(begin / kChunk) * ChunkStep<Format>(tile),
            .row_bytes = tile.row_bytes,
            .grouped = tile.grouped,
            .runs = RunsAt<Format>(tile, begin)};
  }

  // What comes after the chunk at column `begin` of the panels at `row`.
  template <class Product>
  static void SetAhead(const MatMulTile& tile, int row, Band& band) {
    int begin = band.begin + kChunk;
    band.count_ahead = band.count;
    if (begin >= tile.cols) {
      begin = 0;
      row += band.count * kRows;
      band.count_ahead = PanelsAt<Product>(tile, row);
    }
    for (int p = 0; p < band.count_ahead; ++p) {
      band.ahead[p] = ChunkAt(tile, row, p, begin).bytes;
    }
  }

  // Multiplies `count` panels from `row` on. `product` has kPanels, the number it takes together,
  // Prepare(panel, runs), called for each panel once it is unpacked, and AddBand(tile, band, sums)
  // for all tokens; there are sums of each panel.
  template <class Product>
  static void MultiplyPanels(const MatMulTile& tile, int row, int count, Product& product) {
    Panel panels[Product::kPanels];
    Sums sums[Product::kPanels];
    FarSums far[Product::kPanels];
    for (int p = 0; p < count; ++p) {
      for (int t = 0; t < tile.tokens; ++t) sums[p][t] = _mm512_setzero_ps();
    }
    for (int begin = 0; begin < tile.cols; begin += kChunk) {
      for (int p = 0; p < count; ++p) {
        const ChunkOfRows chunk = ChunkAt(tile, row, p, begin);
        if (Unpack(chunk, panels[p])) AddFarRuns(tile, chunk, begin, far[p]);
        product.Prepare(panels[p], chunk.runs);
      }
      Band band{.panels = panels,
                .count = count,
                .begin = begin,
                .runs = RunsAt<Format>(tile, begin),
                .ahead = {},
                .count_ahead = 0};
      SetAhead<Product>(tile, row, band);
      product.AddBand(tile, band, sums);
    }
    for (int p = 0; p < count; ++p) Store(tile, row + p * kRows, sums[p], far[p]);
  }

  static void Store(const MatMulTile& tile, int row, const Sums& sums, const FarSums& far) {
    for (int t = 0; t < tile.tokens; ++t) {
      const __m512 total = far.any ? _mm512_add_ps(Total(far, t), sums[t]) : sums[t];
      const __m512 step = _mm512_set1_ps(StepOf<Format>(tile.quantized, t));
      _mm512_storeu_ps(tile.out + t * tile.out_stride + row, _mm512_mul_ps(total, step));
    }
  }

  static __m512 Total(const FarSums& far, int token) {
    __m512 lanes[kRuns];
    for (int lane = 0; lane < kRuns; ++lane) lanes[lane] = far.lanes[lane][token];
    return AddLanesOfRows(lanes);
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
