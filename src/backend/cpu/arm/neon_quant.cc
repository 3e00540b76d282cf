// Integer dot products with NEON.
//
// An output is the sum over runs of 16 or 32 values of
//
//   weight scale * activation scale * dot(weights, activations) + offset * sum(activations)
//
// Dots are whole numbers and exact. Four runs have a lane each; a lane adds up its runs from one
// four to the next, and at the end the lanes are added, halves first. Both ways of computing follow
// that order, so that they give the same bits:
//
//   RowProduct    one row, for few tokens: one stream of memory.
//   PanelProduct  eight rows, a lane each; what is unpacked is used for all tokens of the tile.

#include "backend/cpu/arm/neon_codebooks.h"
#include "backend/cpu/arm/neon_formats.h"
#include "backend/cpu/arm/neon_plain_formats.h"
#include "backend/cpu/quant_matmul.h"

namespace doppler {
namespace {

// From so many tokens on unpacking eight rows pays.
constexpr int kLeastForPanels = 4;

template <class Format>
constexpr int kRuns = 4 * Format::kGroups;  // of a chunk
template <class Format>
constexpr int kColumns = kRuns<Format>* Format::kRun;
template <class Format>
constexpr int kVectors = Format::kRun / 16;  // registers of a run

// Runs of the chunk that begins at column `begin`.
template <class Format>
int RunsAt(const MatMulTile& tile, int begin) {
  const int left = tile.cols - begin;
  return (left < kColumns<Format> ? left : kColumns<Format>) / Format::kRun;
}

// With residuals the products count in 1/256 of a step.
template <class Format>
constexpr float kStep = Format::kReadsResiduals ? 1.0f / 256 : 1.0f;

int Clamp4(int count) { return count < 4 ? count : 4; }

// The first `count` of four values, zeros after them.
float32x4_t LoadUpTo4(const float* from, int count) {
  if (count == 4) return vld1q_f32(from);
  float buffer[4] = {};
  for (int i = 0; i < count; ++i) buffer[i] = from[i];
  return vld1q_f32(buffer);
}

template <class Format>
struct RowProduct {
  static constexpr int kGroupVectors = 4 * kVectors<Format>;

  struct Group {
    int8x16_t values[kGroupVectors];
    float32x4_t scales;
    float32x4_t offsets;
    int runs;  // at most 4
  };

  static Group Load(const Byte* chunk, const Head<Format::kGroups>& head, int index, int runs) {
    Group out;
    out.runs = runs;
    out.scales = head.scales[index];
    if constexpr (Format::kHasOffsets) out.offsets = head.offsets[index];
    for (int i = 0; i < kGroupVectors; ++i) {
      out.values[i] = i < runs * kVectors<Format> ? Format::Values(chunk, index * kGroupVectors + i)
                                                  : vdupq_n_s8(0);
    }
    return out;
  }

  // The activations' scales of a group's runs.
  static float32x4_t ActivationScales(const QuantizedRows& x, std::ptrdiff_t first, int runs) {
    if constexpr (Format::kRun == 32) return LoadUpTo4(x.scales + first / 32, runs);
    // Runs of 16 come in pairs, which share one.
    const float32x4_t scales = LoadUpTo4(x.scales + first / 32, runs / 2);
    return vzip1q_f32(scales, scales);
  }

  static int32x4_t AddDot(const Group& group, int run, const std::int8_t* x, int32x4_t dot) {
    for (int i = run * kVectors<Format>; i < (run + 1) * kVectors<Format>; ++i) {
      dot = vdotq_s32(dot, group.values[i], vld1q_s8(x + 16 * i));
    }
    return dot;
  }

  static int32x4_t DotOfRun(const Group& group, int run, const QuantizedRows& x,
                            std::ptrdiff_t first) {
    if (run >= group.runs) return vdupq_n_s32(0);
    const int32x4_t dot = AddDot(group, run, x.values + first, vdupq_n_s32(0));
    if constexpr (!Format::kReadsResiduals) return dot;
    return AddDot(group, run, x.residuals + first, vshlq_n_s32(dot, 8));
  }

  // A lane for each run.
  static int32x4_t Dots(const Group& group, const QuantizedRows& x, std::ptrdiff_t first) {
    const int32x4_t low = vpaddq_s32(DotOfRun(group, 0, x, first), DotOfRun(group, 1, x, first));
    const int32x4_t high = vpaddq_s32(DotOfRun(group, 2, x, first), DotOfRun(group, 3, x, first));
    return vpaddq_s32(low, high);
  }

  // sums[n] += the group times token `token` + n, whose columns begin at `begin`.
  template <int N>
  static void Add(const MatMulTile& tile, const Group& group, int begin, int token,
                  float32x4_t (&sums)[N]) {
    const QuantizedRows& x = tile.quantized;
    for (int n = 0; n < N; ++n) {
      const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token + n) * tile.cols + begin;
      if constexpr (Format::kHasOffsets) {
        const float* of_runs = Format::kRun == 16 ? x.sums16 + first / 16 : x.sums32 + first / 32;
        sums[n] = vfmaq_f32(sums[n], group.offsets, LoadUpTo4(of_runs, group.runs));
      }
      const float32x4_t of_x = ActivationScales(x, first, group.runs);
      const float32x4_t scales = vmulq_f32(group.scales, vmulq_n_f32(of_x, kStep<Format>));
      sums[n] = vfmaq_f32(sums[n], vcvtq_f32_s32(Dots(group, x, first)), scales);
    }
  }

  template <int N>
  static void Run(const MatMulTile& tile, int row, int token) {
    float32x4_t sums[N];
    for (int n = 0; n < N; ++n) sums[n] = vdupq_n_f32(0);
    const Byte* chunk = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    for (int begin = 0; begin < tile.cols;
         begin += kColumns<Format>, chunk += Format::kChunkBytes) {
      const int runs = RunsAt<Format>(tile, begin);
      const auto head = Format::Load(chunk, runs);
      if (runs == kRuns<Format>) {
#pragma GCC unroll 4
        for (int g = 0; g < Format::kGroups; ++g) {
          Add<N>(tile, Load(chunk, head, g, 4), begin + 4 * g * Format::kRun, token, sums);
        }
      } else {
        for (int g = 0; 4 * g < runs; ++g) {
          Add<N>(tile, Load(chunk, head, g, Clamp4(runs - 4 * g)), begin + 4 * g * Format::kRun,
                 token, sums);
        }
      }
    }
    for (int n = 0; n < N; ++n) {
      const float32x2_t two = vadd_f32(vget_low_f32(sums[n]), vget_high_f32(sums[n]));
      tile.out[(token + n) * tile.out_stride + row] = vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
    }
  }

  static void AllTokens(const MatMulTile& tile, int row) {
    int token = 0;
    for (; token + 4 <= tile.tokens; token += 4) Run<4>(tile, row, token);
    for (; token + 2 <= tile.tokens; token += 2) Run<2>(tile, row, token);
    if (token < tile.tokens) Run<1>(tile, row, token);
  }
};

// Exchanges rows and columns of 4 x 4 words.
void Transpose(const int8x16_t (&rows)[4], int8x16_t* out) {
  const int32x4_t a = vreinterpretq_s32_s8(rows[0]);
  const int32x4_t b = vreinterpretq_s32_s8(rows[1]);
  const int32x4_t c = vreinterpretq_s32_s8(rows[2]);
  const int32x4_t d = vreinterpretq_s32_s8(rows[3]);
  const int64x2_t even_low = vreinterpretq_s64_s32(vtrn1q_s32(a, b));
  const int64x2_t odd_low = vreinterpretq_s64_s32(vtrn2q_s32(a, b));
  const int64x2_t even_high = vreinterpretq_s64_s32(vtrn1q_s32(c, d));
  const int64x2_t odd_high = vreinterpretq_s64_s32(vtrn2q_s32(c, d));
  out[0] = vreinterpretq_s8_s64(vtrn1q_s64(even_low, even_high));
  out[1] = vreinterpretq_s8_s64(vtrn1q_s64(odd_low, odd_high));
  out[2] = vreinterpretq_s8_s64(vtrn2q_s64(even_low, even_high));
  out[3] = vreinterpretq_s8_s64(vtrn2q_s64(odd_low, odd_high));
}

// The same of floats: out[i] is lane i of each.
void Transpose(const float32x4_t (&rows)[4], float32x4_t* out) {
  int8x16_t words[4];
  for (int i = 0; i < 4; ++i) words[i] = vreinterpretq_s8_f32(rows[i]);
  int8x16_t turned[4];
  Transpose(words, turned);
  for (int i = 0; i < 4; ++i) out[i] = vreinterpretq_f32_s8(turned[i]);
}

template <class Format>
struct PanelProduct {
  static constexpr int kRows = 8;
  static constexpr int kFours = kRows / 4;
  static constexpr int kWords = Format::kRun / 4;

  // A chunk of eight rows: words of four weights, and scales, of four rows side by side.
  struct Panel {
    int8x16_t words[kFours][kColumns<Format> / 4];
    float32x4_t scales[kFours][kRuns<Format>];
    float32x4_t offsets[kFours][kRuns<Format>];
  };

  // [lane][token]: registers with a row in each of their lanes.
  using Sums = float32x4_t[4][MatMulTile::kMaxTokens][kFours];

  static void UnpackFour(const MatMulTile& tile, const Byte* at, int runs, int four, Panel& panel) {
    const Byte* chunks[4];
    Head<Format::kGroups> heads[4];
    for (int r = 0; r < 4; ++r) {
      chunks[r] = at + static_cast<std::size_t>(r) * tile.row_bytes;
      heads[r] = Format::Load(chunks[r], runs);
    }
    for (int i = 0; i < runs * kVectors<Format>; ++i) {
      int8x16_t values[4];
      for (int r = 0; r < 4; ++r) values[r] = Format::Values(chunks[r], i);
      Transpose(values, panel.words[four] + 4 * i);
    }
    for (int g = 0; g < Format::kGroups; ++g) {
      float32x4_t of_rows[4];
      for (int r = 0; r < 4; ++r) of_rows[r] = heads[r].scales[g];
      Transpose(of_rows, panel.scales[four] + 4 * g);
      if constexpr (Format::kHasOffsets) {
        for (int r = 0; r < 4; ++r) of_rows[r] = heads[r].offsets[g];
        Transpose(of_rows, panel.offsets[four] + 4 * g);
      }
    }
  }

  // Words of a run of all rows times the activations of a token.
  static void AddDots(const int8x16_t (&words)[kFours][kWords], const std::int8_t* x,
                      int32x4_t (&dots)[kFours]) {
    for (int i = 0; i < kVectors<Format>; ++i) {
      const int8x16_t sixteen = vld1q_s8(x + 16 * i);
      for (int f = 0; f < kFours; ++f) {
        dots[f] = vdotq_laneq_s32(dots[f], words[f][4 * i], sixteen, 0);
        dots[f] = vdotq_laneq_s32(dots[f], words[f][4 * i + 1], sixteen, 1);
        dots[f] = vdotq_laneq_s32(dots[f], words[f][4 * i + 2], sixteen, 2);
        dots[f] = vdotq_laneq_s32(dots[f], words[f][4 * i + 3], sixteen, 3);
      }
    }
  }

  // One run of all tokens.
  static void Add(const MatMulTile& tile, int begin, int run, const Panel& panel, Sums& sums) {
    const QuantizedRows& x = tile.quantized;
    int8x16_t words[kFours][kWords];
    for (int f = 0; f < kFours; ++f) {
      for (int i = 0; i < kWords; ++i) words[f][i] = panel.words[f][run * kWords + i];
    }
    for (int t = 0; t < tile.tokens; ++t) {
      const std::ptrdiff_t first =
          static_cast<std::ptrdiff_t>(t) * tile.cols + begin + run * Format::kRun;
      int32x4_t dots[kFours];
      for (int f = 0; f < kFours; ++f) dots[f] = vdupq_n_s32(0);
      AddDots(words, x.values + first, dots);
      if constexpr (Format::kReadsResiduals) {
        for (int f = 0; f < kFours; ++f) dots[f] = vshlq_n_s32(dots[f], 8);
        AddDots(words, x.residuals + first, dots);
      }
      const float of_x = x.scales[first / 32] * kStep<Format>;
      for (int f = 0; f < kFours; ++f) {
        float32x4_t sum = sums[run % 4][t][f];
        if constexpr (Format::kHasOffsets) {
          const float of_run = Format::kRun == 16 ? x.sums16[first / 16] : x.sums32[first / 32];
          sum = vfmaq_n_f32(sum, panel.offsets[f][run], of_run);
        }
        const float32x4_t scales = vmulq_n_f32(panel.scales[f][run], of_x);
        sums[run % 4][t][f] = vfmaq_f32(sum, vcvtq_f32_s32(dots[f]), scales);
      }
    }
  }

  static void Run(const MatMulTile& tile, int row) {
    Sums sums;
    for (int lane = 0; lane < 4; ++lane) {
      for (int t = 0; t < tile.tokens; ++t) {
        for (int f = 0; f < kFours; ++f) sums[lane][t][f] = vdupq_n_f32(0);
      }
    }
    const Byte* at = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    Panel panel;
    for (int begin = 0; begin < tile.cols; begin += kColumns<Format>, at += Format::kChunkBytes) {
      const int runs = RunsAt<Format>(tile, begin);
      for (int f = 0; f < kFours; ++f) {
        UnpackFour(tile, at + static_cast<std::size_t>(4 * f) * tile.row_bytes, runs, f, panel);
      }
      for (int run = 0; run < runs; ++run) Add(tile, begin, run, panel, sums);
    }
    for (int t = 0; t < tile.tokens; ++t) {
      for (int f = 0; f < kFours; ++f) {
        const float32x4_t even = vaddq_f32(sums[0][t][f], sums[2][t][f]);
        const float32x4_t odd = vaddq_f32(sums[1][t][f], sums[3][t][f]);
        vst1q_f32(tile.out + t * tile.out_stride + row + 4 * f, vaddq_f32(even, odd));
      }
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

namespace neon {
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
}  // namespace neon

}  // namespace doppler
