// Integer dot products with AVX-512 VNNI.
//
// An output is the sum over runs of 16 or 32 values of
//
//   weight scale * activation scale * dot(weights, activations) + offset * sum(activations)
//
// Dots are whole numbers and exact. The runs of a chunk of 256 values have a lane each; a lane adds
// up its runs from chunk to chunk, and at the end the lanes are added pairwise, halves first. Both
// ways of computing follow that order, so that they give the same bits:
//
//   RowProduct    one row; a register holds 64 of its weights. For few tokens, when the weights
//   come
//                 from memory and the processor's prefetcher likes one stream.
//   PanelProduct  sixteen rows, a lane each; what is unpacked is used for all tokens of the tile.

#include <immintrin.h>

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/avx512_codebooks.h"
#include "backend/cpu/x86/avx512_formats.h"
#include "backend/cpu/x86/avx512_plain_formats.h"

namespace doppler {
namespace {

// From so many tokens on unpacking sixteen rows pays.
constexpr int kLeastForPanels = 4;

template <class Format>
constexpr int kLanesOf = kChunk / Format::kRun;

// Runs of the chunk that begins at column `begin`.
template <class Format>
int RunsAt(const MatMulTile& tile, int begin) {
  const int left = tile.cols - begin;
  return (left < kChunk ? left : kChunk) / Format::kRun;
}

constexpr __mmask16 FirstLanes(int count) { return static_cast<__mmask16>((1u << count) - 1); }

// With residuals the products count in 1/256 of a step.
template <class Format>
constexpr float kStep = Format::kReadsResiduals ? 1.0f / 256 : 1.0f;

// The lanes' sum: the upper half is added to the lower, and again.
float AddLanes(__m512 lanes) {
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// Sums of neighbouring lanes of four registers of dot products: element p of the quarter q is the
// sum of quarter q of dots[p].
__m512i AddQuarters(const __m512i (&dots)[4]) {
  const __m512i first = _mm512_add_epi32(_mm512_unpacklo_epi32(dots[0], dots[1]),
                                         _mm512_unpackhi_epi32(dots[0], dots[1]));
  const __m512i second = _mm512_add_epi32(_mm512_unpacklo_epi32(dots[2], dots[3]),
                                          _mm512_unpackhi_epi32(dots[2], dots[3]));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(first, second),
                          _mm512_unpackhi_epi64(first, second));
}

template <class Format>
struct RowProduct {
  // What the processor's own prefetcher does not reach by itself.
  static constexpr int kBytesAhead = 1024;

  struct Row {
    __m512i values[4];
    Head head;
  };

  // `kWhole`: the chunk has all its runs.
  template <bool kWhole>
  static Row Load(const Byte* chunk, int runs) {
    Row row;
    row.head = Format::Load(chunk, runs);
    for (int pair = 0; pair < 4; ++pair) {
      row.values[pair] = kWhole ? Format::Values(chunk, pair) : ValuesUpTo(chunk, pair, runs);
    }
    return row;
  }

  // Zeros beyond the chunk's runs.
  static __m512i ValuesUpTo(const Byte* chunk, int pair, int runs) {
    if (2 * pair + 2 <= runs) return Format::Values(chunk, pair);
    return 2 * pair + 1 == runs ? Format::LastRun(chunk, 2 * pair) : _mm512_setzero_si512();
  }

  // 64 activations, zeros beyond the chunk's runs.
  template <bool kWhole>
  static __m512i LoadActivations(const std::int8_t* x, int pair, int runs) {
    if (kWhole) return Load64(x + 64 * pair);
    const int left = runs * Format::kRun - 64 * pair;
    const __mmask64 there =
        left >= 64 ? ~__mmask64{0} : (__mmask64{1} << (left > 0 ? left : 0)) - 1;
    return _mm512_maskz_loadu_epi8(there, x + 64 * pair);
  }

  template <bool kWhole>
  static __m512i Dot(__m512i values, const QuantizedRows& x, std::ptrdiff_t first, int pair,
                     int runs) {
    const __m512i zero = _mm512_setzero_si512();
    const __m512i dot =
        _mm512_dpbusd_epi32(zero, values, LoadActivations<kWhole>(x.values + first, pair, runs));
    if constexpr (!Format::kReadsResiduals) return dot;
    return _mm512_dpbusd_epi32(_mm512_slli_epi32(dot, 8), values,
                               LoadActivations<kWhole>(x.residuals + first, pair, runs));
  }

  // Dot products of 256 values, a lane for each run, with the zero of the weights where it is
  // stored.
  template <bool kWhole>
  static __m512i Dots(const Row& row, const QuantizedRows& x, std::ptrdiff_t first, int runs) {
    __m512i dots[4];
    for (int pair = 0; pair < 4; ++pair) {
      dots[pair] = Dot<kWhole>(row.values[pair], x, first, pair, runs);
    }
    const __m512i quarters = AddQuarters(dots);
    if constexpr (Format::kRun == 16) {
      return _mm512_permutexvar_epi32(
          _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), quarters);
    }
    const __m512i halves =
        _mm512_add_epi32(quarters, _mm512_shuffle_i64x2(quarters, quarters, 0b10110001));
    return _mm512_maskz_permutexvar_epi32(
        kEightLanes, _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 0, 0, 0, 0, 0, 0, 0, 0), halves);
  }

  template <bool kWhole>
  static __m512i AllDots(const Row& row, const QuantizedRows& x, std::ptrdiff_t first, int runs) {
    const __m512i dots = Dots<kWhole>(row, x, first, runs);
    if constexpr (Format::kZero == 0) return dots;
    const std::int32_t* whole_sums =
        Format::kRun == 16 ? x.whole_sums16 + first / 16 : x.whole_sums + first / 32;
    const __m512i sums = _mm512_maskz_loadu_epi32(FirstLanes(runs), whole_sums);
    return _mm512_sub_epi32(dots, _mm512_mullo_epi32(sums, _mm512_set1_epi32(Format::kZero)));
  }

  static __m512 ActivationScales(const QuantizedRows& x, std::ptrdiff_t first, int runs) {
    if constexpr (Format::kRun == 32) {
      return _mm512_mul_ps(_mm512_maskz_loadu_ps(FirstLanes(runs), x.scales + first / 32),
                           _mm512_set1_ps(kStep<Format>));
    }
    const __m512 eight = _mm512_zextps256_ps512(_mm256_loadu_ps(x.scales + first / 32));
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
                                 eight);
  }

  static __m512 Offsets(const Row& row, const QuantizedRows& x, std::ptrdiff_t first, int runs,
                        __m512 sum) {
    const __m512 sums = Format::kRun == 16
                            ? _mm512_loadu_ps(x.sums16 + first / 16)
                            : _mm512_maskz_loadu_ps(FirstLanes(runs), x.sums32 + first / 32);
    return _mm512_fmadd_ps(row.head.offsets, sums, sum);
  }

  // The chunk that begins at column `begin`, for N tokens.
  template <bool kWhole, int N>
  static void Add(const MatMulTile& tile, const Byte* chunk, int begin, int token, int runs,
                  __m512 (&sums)[N]) {
    const Row row = Load<kWhole>(chunk, runs);
    for (int i = 0; i < Format::kChunkBytes; i += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(chunk + kBytesAhead + i), _MM_HINT_T0);
    }
    for (int n = 0; n < N; ++n) {
      const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token + n) * tile.cols + begin;
      if constexpr (Format::kHasOffsets)
        sums[n] = Offsets(row, tile.quantized, first, runs, sums[n]);
      const __m512 scales =
          _mm512_mul_ps(row.head.scales, ActivationScales(tile.quantized, first, runs));
      const __m512i dots = AllDots<kWhole>(row, tile.quantized, first, runs);
      sums[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), scales, sums[n]);
    }
  }

  template <int N>
  static void Run(const MatMulTile& tile, int row, int token) {
    __m512 sums[N];
    for (int n = 0; n < N; ++n) sums[n] = _mm512_setzero_ps();
    const Byte* chunk = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    int begin = 0;
    for (; begin + kChunk <= tile.cols; begin += kChunk, chunk += Format::kChunkBytes) {
      Add<true, N>(tile, chunk, begin, token, kLanesOf<Format>, sums);
    }
    if (begin < tile.cols) {
      Add<false, N>(tile, chunk, begin, token, RunsAt<Format>(tile, begin), sums);
    }
    for (int n = 0; n < N; ++n) tile.out[(token + n) * tile.out_stride + row] = AddLanes(sums[n]);
  }

  static void AllTokens(const MatMulTile& tile, int row) {
    int token = 0;
    for (; token + 4 <= tile.tokens; token += 4) Run<4>(tile, row, token);
    for (; token + 2 <= tile.tokens; token += 2) Run<2>(tile, row, token);
    if (token < tile.tokens) Run<1>(tile, row, token);
  }
};

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

template <class Format>
struct PanelProduct {
  static constexpr int kRows = 16;
  static constexpr int kLanes = kLanesOf<Format>;
  static constexpr int kWords = Format::kRun / 4;
  // Unpacked together: 32 KiB of weights, which stay in the second-level cache while all tokens
  // pass.
  static constexpr int kChunks = 8;
  // Tokens whose sums fit into registers beside their dot products.
  static constexpr int kTokens = 8;
  // Weights around a zero are signed here, and the activations unsigned: what these have too much
  // is then a number of the weights alone.
  static constexpr bool kSigned = Format::kZero != 0;
  // Unpacked in one go.
  static constexpr int kLanesAtOnce = 8;
  static constexpr int kPairsAtOnce = kLanesAtOnce * Format::kRun / 64;

  // Some chunks of sixteen rows: words of four weights, and scales, of all rows side by side.
  struct Panel {
    __m512i words[kLanes][kChunks][kWords];
    __m512 scales[kLanes][kChunks];
    __m512 offsets[kLanes][kChunks];  // or what signed weights start with, as whole numbers
  };

  // [lane][token]: a register with a row in each of its lanes.
  using Sums = __m512[kLanes][MatMulTile::kMaxTokens];

  // Which chunk of which rows is unpacked, and to where.
  struct Part {
    const Byte* chunk;
    std::size_t row_bytes;
    int runs;  // of the chunk
    int index;
    Panel& panel;

    const Byte* Row(int row) const { return chunk + static_cast<std::size_t>(row) * row_bytes; }
    __m512i& Word(int lane, int i) const { return panel.words[lane][index][i]; }
  };

  static void Unpack(const Part& part) {
    if constexpr (Format::kPairsOfNibbles) {
      UnpackNibbles(part);
    } else {
      for (int lane = 0; lane < kLanes; lane += kLanesAtOnce) UnpackValues(part, lane);
    }
    for (int lane = 0; lane < kLanes; lane += kLanesAtOnce) UnpackHeads(part, lane);
    if constexpr (kSigned) {
      for (int lane = 0; lane < kLanes; ++lane) SetStart(part, lane);
    }
  }

  // The products of weights with the 128 that unsigned activations have too much.
  static void SetStart(const Part& part, int lane) {
    __m512i too_much = _mm512_setzero_si512();
    for (int i = 0; i < kWords; ++i) {
      too_much = _mm512_dpbusd_epi32(too_much, _mm512_set1_epi8(-128), part.Word(lane, i));
    }
    part.panel.offsets[lane][part.index] =
        _mm512_castsi512_ps(_mm512_sub_epi32(_mm512_setzero_si512(), too_much));
  }

  static void UnpackValues(const Part& part, int first_lane) {
    __m512i values[kPairsAtOnce][kRows];
    const int first_pair = first_lane * Format::kRun / 64;
    for (int r = 0; r < kRows; ++r) {
      for (int pair = 0; pair < kPairsAtOnce; ++pair) {
        values[pair][r] = part.runs == kLanes ? Format::Values(part.Row(r), first_pair + pair)
                                              : RowProduct<Format>::ValuesUpTo(
                                                    part.Row(r), first_pair + pair, part.runs);
      }
    }
    for (int pair = 0; pair < kPairsAtOnce; ++pair) {
      Transpose(values[pair]);
      for (int i = 0; i < 16; ++i) {
        const int word = 16 * (first_pair + pair) + i;
        part.Word(word / kWords, word % kWords) =
            _mm512_sub_epi8(values[pair][i], _mm512_set1_epi8(static_cast<char>(Format::kZero)));
      }
    }
  }

  // Nibbles are transposed before they are unpacked, half as many words.
  static void UnpackNibbles(const Part& part) {
    const __m512i low = _mm512_set1_epi8(15);
    for (int half = 0; half < 2; ++half) {
      __m512i words[kRows];
      for (int r = 0; r < kRows; ++r) words[r] = Format::Nibbles(part.Row(r), half);
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
      Format::LoadHeads(part.chunk, part.row_bytes, first_lane, scales, offsets);
    } else {
      TransposeHeads(part, first_lane, scales, offsets);
    }
    for (int i = 0; i < kLanesAtOnce; ++i) {
      part.panel.scales[first_lane + i][part.index] = scales[i];
      if constexpr (!kSigned) part.panel.offsets[first_lane + i][part.index] = offsets[i];
    }
  }

  // Scales and offsets of eight lanes share a register.
  static void TransposeHeads(const Part& part, int first_lane, __m512 (&scales)[kLanesAtOnce],
                             __m512 (&offsets)[kLanesAtOnce]) {
    __m512i heads[kRows];
    for (int r = 0; r < kRows; ++r) {
      const Head head = Format::Load(part.Row(r), part.runs);
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

  // Adds the products of one run with N tokens, `stride` apart. The tokens take turns, since a
  // product waits for the one before it of the same token.
  template <int N, class X>
  static void Dot(const __m512i (&words)[kWords], const X* x, std::ptrdiff_t stride,
                  __m512i (&dots)[N]) {
    for (int i = 0; i < kWords; ++i) {
      for (int n = 0; n < N; ++n) {
        int word;
        __builtin_memcpy(&word, x + n * stride + 4 * i, sizeof(word));
        const __m512i four = _mm512_set1_epi32(word);
        dots[n] = kSigned ? _mm512_dpbusd_epi32(dots[n], four, words[i])
                          : _mm512_dpbusd_epi32(dots[n], words[i], four);
      }
    }
  }

  // The same with residuals. `start` takes back what activations have too much.
  template <int N>
  static void AllDots(const __m512i (&words)[kWords], __m512i start, const QuantizedRows& x,
                      std::ptrdiff_t first, __m512i (&dots)[N]) {
    for (int n = 0; n < N; ++n) dots[n] = start;
    if constexpr (!kSigned) {
      Dot(words, x.values + first, x.cols, dots);
    } else {
      Dot(words, x.unsigned_values + first, x.cols, dots);
    }
    if constexpr (Format::kReadsResiduals) {
      static_assert(kSigned);
      for (int n = 0; n < N; ++n) dots[n] = _mm512_add_epi32(_mm512_slli_epi32(dots[n], 8), start);
      Dot(words, x.unsigned_residuals + first, x.cols, dots);
    }
  }

  // One run of N tokens, which begins at `first`.
  template <int N>
  static void AddRun(const QuantizedRows& x, std::ptrdiff_t first, const __m512i (&words)[kWords],
                     __m512 scales, __m512 offsets, __m512 (&sums)[N]) {
    __m512i dots[N];
    AllDots(words, kSigned ? _mm512_castps_si512(offsets) : _mm512_setzero_si512(), x, first, dots);
    const float* x_scales = x.scales + first / 32;
    const float* x_sums = Format::kRun == 16 ? x.sums16 + first / 16 : x.sums32 + first / 32;
    for (int n = 0; n < N; ++n) {
      if constexpr (Format::kHasOffsets) {
        const __m512 of_run = _mm512_set1_ps(x_sums[n * (x.cols / Format::kRun)]);
        sums[n] = _mm512_fmadd_ps(offsets, of_run, sums[n]);
      }
      const __m512 x_scale = _mm512_set1_ps(x_scales[n * (x.cols / 32)] * kStep<Format>);
      sums[n] =
          _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[n]), _mm512_mul_ps(scales, x_scale), sums[n]);
    }
  }

  // Some chunks of the rows, from column `begin` on.
  struct Band {
    const Panel& panel;
    int begin;
    int chunks = 0;
    int last_runs = 0;  // of the last chunk
    const Byte* ahead;  // the same chunks of the next sixteen rows, or null
    std::size_t row_bytes;

    int ChunksOf(int lane) const { return lane < last_runs ? chunks : chunks - 1; }
  };

  // Brings a lane's share of the next panel into the second-level cache: the processor's own
  // prefetcher does not follow sixteen rows.
  static void Prefetch(const Band& band, int lane) {
    constexpr int kRowsPerLane = kRows / kLanes;
    for (int r = lane * kRowsPerLane; r < (lane + 1) * kRowsPerLane; ++r) {
      const Byte* row = band.ahead + static_cast<std::size_t>(r) * band.row_bytes;
      for (int i = 0; i < band.chunks * Format::kChunkBytes; i += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(row + i), _MM_HINT_T1);
      }
    }
  }

  // N tokens from `token` on.
  template <int N>
  static void AddTokens(const MatMulTile& tile, const Band& band, int token, Sums& sums) {
    const QuantizedRows& x = tile.quantized;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (token == 0 && band.ahead != nullptr) Prefetch(band, lane);
      __m512 in_registers[N];
      for (int n = 0; n < N; ++n) {
        in_registers[n] = band.begin == 0 ? _mm512_setzero_ps() : sums[lane][token + n];
      }
      std::ptrdiff_t first =
          static_cast<std::ptrdiff_t>(token) * x.cols + band.begin + lane * Format::kRun;
      for (int c = 0, end = band.ChunksOf(lane); c < end; ++c, first += kChunk) {
        AddRun<N>(x, first, band.panel.words[lane][c], band.panel.scales[lane][c],
                  band.panel.offsets[lane][c], in_registers);
      }
      for (int n = 0; n < N; ++n) sums[lane][token + n] = in_registers[n];
    }
  }

  // Groups of about the same size: with less than four tokens products would wait.
  static void AddBand(const MatMulTile& tile, const Band& band, Sums& sums) {
    const int groups = (tile.tokens + kTokens - 1) / kTokens;
    for (int group = 0; group < groups; ++group) {
      const int token = group * tile.tokens / groups;
      switch ((group + 1) * tile.tokens / groups - token) {
        case 4:
          AddTokens<4>(tile, band, token, sums);
          break;
        case 5:
          AddTokens<5>(tile, band, token, sums);
          break;
        case 6:
          AddTokens<6>(tile, band, token, sums);
          break;
        case 7:
          AddTokens<7>(tile, band, token, sums);
          break;
        default:
          AddTokens<kTokens>(tile, band, token, sums);
      }
    }
  }

  // As AddLanes.
  static __m512 Total(const Sums& sums, int token) {
    __m512 lanes[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = sums[lane][token];
    for (int half = kLanes / 2; half > 0; half /= 2) {
      for (int lane = 0; lane < half; ++lane) {
        lanes[lane] = _mm512_add_ps(lanes[lane], lanes[lane + half]);
      }
    }
    return lanes[0];
  }

  static void Run(const MatMulTile& tile, int row) {
    Sums sums;
    Panel panel;
    const Byte* chunk = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    for (int begin = 0; begin < tile.cols; begin += kChunks * kChunk) {
      Band band{.panel = panel,
                .begin = begin,
                .ahead = row + 2 * kRows <= tile.rows ? chunk + kRows * tile.row_bytes : nullptr,
                .row_bytes = tile.row_bytes};
      for (; band.chunks < kChunks; ++band.chunks, chunk += Format::kChunkBytes) {
        const int at = begin + band.chunks * kChunk;
        if (at >= tile.cols) break;
        band.last_runs = RunsAt<Format>(tile, at);
        Unpack({.chunk = chunk,
                .row_bytes = tile.row_bytes,
                .runs = band.last_runs,
                .index = band.chunks,
                .panel = panel});
      }
      AddBand(tile, band, sums);
    }
    for (int t = 0; t < tile.tokens; ++t) {
      _mm512_storeu_ps(tile.out + t * tile.out_stride + row, Total(sums, t));
    }
  }
};

template <class Format>
void Multiply(const MatMulTile& tile) {
  int row = 0;
  if (tile.tokens >= kLeastForPanels) {
    for (; row + PanelProduct<Format>::kRows <= tile.rows; row += PanelProduct<Format>::kRows) {
      PanelProduct<Format>::Run(tile, row);
    }
  }
  for (; row < tile.rows; ++row) RowProduct<Format>::AllTokens(tile, row);
}

}  // namespace

namespace avx512 {
void MatMulQ80(const MatMulTile& tile) { Multiply<Q80>(tile); }
void MatMulQ40(const MatMulTile& tile) { Multiply<Q40>(tile); }
void MatMulQ4K(const MatMulTile& tile) { Multiply<Q4K>(tile); }
void MatMulQ5K(const MatMulTile& tile) { Multiply<Q5K>(tile); }
void MatMulQ6K(const MatMulTile& tile) { Multiply<Q6K>(tile); }
void MatMulIq4Nl(const MatMulTile& tile) { Multiply<Iq4Nl>(tile); }
void MatMulMxfp4(const MatMulTile& tile) { Multiply<Mxfp4>(tile); }
void MatMulInt4G32(const MatMulTile& tile) { Multiply<Int4G32>(tile); }
void MatMulQ41(const MatMulTile& tile) { Multiply<Q41>(tile); }
void MatMulQ50(const MatMulTile& tile) { Multiply<Q50>(tile); }
void MatMulQ51(const MatMulTile& tile) { Multiply<Q51>(tile); }
void MatMulQ2K(const MatMulTile& tile) { Multiply<Q2K>(tile); }
void MatMulQ3K(const MatMulTile& tile) { Multiply<Q3K>(tile); }
void MatMulIq4Xs(const MatMulTile& tile) { Multiply<Iq4Xs>(tile); }
void MatMulIq3Xxs(const MatMulTile& tile) { Multiply<Iq3Xxs>(tile); }
void MatMulIq3S(const MatMulTile& tile) { Multiply<Iq3S>(tile); }
void MatMulIq2Xxs(const MatMulTile& tile) { Multiply<Iq2Xxs>(tile); }
void MatMulIq2Xs(const MatMulTile& tile) { Multiply<Iq2Xs>(tile); }
void MatMulIq2S(const MatMulTile& tile) { Multiply<Iq2S>(tile); }
void MatMulIq1S(const MatMulTile& tile) { Multiply<Iq1S>(tile); }
void MatMulIq1M(const MatMulTile& tile) { Multiply<Iq1M>(tile); }
}  // namespace avx512

}  // namespace doppler
