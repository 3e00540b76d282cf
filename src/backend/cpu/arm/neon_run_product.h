// What products of several rows at once share. Only neon_quant.cc includes this; see there for the
// order of sums.
#pragma once

#include <arm_neon.h>

#include "backend/cpu/arm/neon_row_product.h"
#include "backend/cpu/kernels.h"

namespace doppler {
// Functions of one file, as in neon_formats.h.
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// A run of eight rows times the activations of tokens: words of four weights of each of four rows,
// a row in each lane of a register.
template <class Format>
struct RunProduct {
  static constexpr int kRows = 8;
  static constexpr int kFours = kRows / 4;
  static constexpr int kWords = Format::kRun / 4;

  // What the words of a run stand for.
  struct Factors {
    float32x4_t scales[kFours];
    float32x4_t offsets[kFours];
  };
  using Words = int8x16_t[kFours][kWords];
  // [lane][token]: runs that are four apart are added up in one lane.
  using Sums = float32x4_t[4][MatMulTile::kMaxTokens][kFours];

  static void Clear(int tokens, Sums& sums) {
    for (int lane = 0; lane < 4; ++lane) {
      for (int t = 0; t < tokens; ++t) {
        for (int f = 0; f < kFours; ++f) sums[lane][t][f] = vdupq_n_f32(0);
      }
    }
  }

  // Words of a run of all rows times the activations of a token.
  static void AddDots(const Words& words, const std::int8_t* x, int32x4_t (&dots)[kFours]) {
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

  // One run of all tokens, whose columns begin at `begin`, to the sums of its lane.
  static void Add(const MatMulTile& tile, int begin, const Words& words, const Factors& factors,
                  float32x4_t (*sums)[kFours]) {
    const QuantizedRows& x = tile.quantized;
    for (int t = 0; t < tile.tokens; ++t) {
      const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(t) * tile.quantized.stride + begin;
      int32x4_t dots[kFours];
      for (int f = 0; f < kFours; ++f) dots[f] = vdupq_n_s32(0);
      AddDots(words, x.values + first, dots);
      if constexpr (Format::kReadsResiduals) {
        for (int f = 0; f < kFours; ++f) dots[f] = vshlq_n_s32(dots[f], 8);
        AddDots(words, x.residuals + first, dots);
      }
      const float of_x = x.scales[first / 32] * kStep<Format>;
      for (int f = 0; f < kFours; ++f) {
        float32x4_t sum = sums[t][f];
        if constexpr (Format::kHasOffsets) {
          const float of_run = Format::kRun == 16 ? x.sums16[first / 16] : x.sums32[first / 32];
          sum = vfmaq_n_f32(sum, factors.offsets[f], of_run);
        }
        const float32x4_t scales = vmulq_n_f32(factors.scales[f], of_x);
        sums[t][f] = vfmaq_f32(sum, vcvtq_f32_s32(dots[f]), scales);
      }
    }
  }

  static void Store(const MatMulTile& tile, const Sums& sums, int row) {
    for (int t = 0; t < tile.tokens; ++t) {
      for (int f = 0; f < kFours; ++f) {
        const float32x4_t even = vaddq_f32(sums[0][t][f], sums[2][t][f]);
        const float32x4_t odd = vaddq_f32(sums[1][t][f], sums[3][t][f]);
        vst1q_f32(tile.out + t * tile.out_stride + row + 4 * f, vaddq_f32(even, odd));
      }
    }
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
