// One row of quantised weights at a time, for few tokens: one stream of memory. Only neon_quant.cc
// includes this; see there for the order of sums.
#pragma once

#include <arm_neon.h>

#include "backend/cpu/arm/neon_formats.h"
#include "backend/cpu/kernels.h"

namespace doppler {
// Functions of one file, as in neon_formats.h.
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

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
      const std::ptrdiff_t first =
          static_cast<std::ptrdiff_t>(token + n) * tile.quantized.stride + begin;
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

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
