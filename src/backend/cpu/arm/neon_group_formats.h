// The block formats in groups of sixteen rows, as neon_group_product.h reads them. Only
// neon_quant.cc includes this.
#pragma once

#include <arm_neon.h>

#include "backend/cpu/arm/neon_formats.h"
#include "backend/cpu/arm/neon_group_product.h"

namespace doppler {
// Functions of one file, as in neon_formats.h.
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

constexpr int kWordsOfFour = 16;  // bytes of four weights of each of four rows

// f16, bf16 and e8m0 of four rows.
float32x4_t FourOfFp16(const Byte* from) {
  return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(from)));
}
float32x4_t FourOfBf16(const Byte* from) {
  return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(from)), 16));
}
uint32x4_t FourBytes(const Byte* from) {
  uint32_t four;
  __builtin_memcpy(&four, from, sizeof(four));
  return vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)))));
}
// 2^(exponent - 128), as LoadE8M0.
float32x4_t FourOfE8M0(const Byte* from) {
  const uint32x4_t exponents = FourBytes(from);
  const uint32x4_t normal = vshlq_n_u32(vsubq_u32(exponents, vdupq_n_u32(1)), 23);
  const uint32x4_t small = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(exponents));
  const uint32x4_t is_small = vcltq_u32(exponents, vdupq_n_u32(2));
  return vreinterpretq_f32_u32(vbslq_u32(is_small, small, normal));
}

// Blocks of 32 values with a scale of kScaleBytes, which they begin with.
template <class Row, int kBlockBytes, int kScaleBytes, float32x4_t (*kScales)(const Byte*)>
struct SmallGroups : Row {
  static constexpr int kBytes = kBlockBytes;
  static constexpr int kBlocks = 8;
  static void LoadGroup(const GroupChunk& chunk, GroupScales& out) {
    for (int run = 0; run < chunk.blocks; ++run) {
      const Byte* scales = chunk.Units<0, kScaleBytes>(run, 0);
      for (int four = 0; four < 4; ++four) {
        out.scales[run][four] = kScales(scales + 4 * kScaleBytes * four);
      }
    }
  }
};

// The nibbles of a run's 16 bytes from byte kAt of a block on.
template <int kAt>
void NibbleWords(const GroupChunk& chunk, int run, int four, int8x16_t* words) {
  const Byte* from = chunk.Units<kAt, 16>(run, 0) + kWordsOfFour * four;
  for (int i = 0; i < 4; ++i) {
    words[i] = Nibbles(from + 64 * i, false);
    words[4 + i] = Nibbles(from + 64 * i, true);
  }
}

void LevelWords(const signed char* levels, int8x16_t* words) {
  const int8x16_t table = vld1q_s8(levels);
  for (int i = 0; i < 8; ++i) words[i] = vqtbl1q_s8(table, vreinterpretq_u8_s8(words[i]));
}

struct GroupedQ80 : SmallGroups<Q80, Q80Layout::kBytes, 2, FourOfFp16> {
  static void GroupWords(const GroupChunk& chunk, int run, int four, int8x16_t* words) {
    const Byte* from = chunk.Units<Q80Layout::kValues, 32>(run, 0) + kWordsOfFour * four;
    for (int i = 0; i < 8; ++i) words[i] = vreinterpretq_s8_u8(vld1q_u8(from + 64 * i));
  }
};

template <class Row, float32x4_t (*kScales)(const Byte*)>
struct NibbleGroups : SmallGroups<Row, Q40Layout::kBytes, 2, kScales> {
  static void GroupWords(const GroupChunk& chunk, int run, int four, int8x16_t* words) {
    NibbleWords<Q40Layout::kNibbles>(chunk, run, four, words);
    for (int i = 0; i < 8; ++i) words[i] = vsubq_s8(words[i], vdupq_n_s8(8));
  }
};
using GroupedQ40 = NibbleGroups<Q40, FourOfFp16>;
using GroupedInt4G32 = NibbleGroups<Int4G32, FourOfBf16>;

struct GroupedIq4Nl : SmallGroups<Iq4Nl, Iq4NlLayout::kBytes, 2, FourOfFp16> {
  static void GroupWords(const GroupChunk& chunk, int run, int four, int8x16_t* words) {
    NibbleWords<Iq4NlLayout::kNibbles>(chunk, run, four, words);
    LevelWords(kIq4Levels, words);
  }
};

struct GroupedMxfp4 : SmallGroups<Mxfp4, Mxfp4Layout::kBytes, 1, FourOfE8M0> {
  static void GroupWords(const GroupChunk& chunk, int run, int four, int8x16_t* words) {
    NibbleWords<Mxfp4Layout::kNibbles>(chunk, run, four, words);
    LevelWords(kFp4Levels, words);
  }
};

// Byte `i` of each lane as float, times `factor`.
float32x4_t ScaleBytes(uint32x4_t words, int i, float32x4_t factor) {
  const uint32x4_t down = vshlq_u32(words, vdupq_n_s32(-8 * i));
  return vmulq_f32(vcvtq_f32_u32(vandq_u32(down, vdupq_n_u32(255))), factor);
}

// What q4_k and q5_k share: UnpackSubScales, a row in each lane.
template <class Row, class Layout>
struct SubScaleGroups : Row {
  static constexpr int kBytes = Layout::kBytes;
  static constexpr int kBlocks = 1;

  static void LoadFour(const GroupChunk& chunk, int four, GroupScales& out) {
    const Byte* packed = chunk.Units<Layout::kSubScales, 12>(0, 0) + kWordsOfFour * four;
    const uint32x4_t first = vreinterpretq_u32_u8(vld1q_u8(packed));
    const uint32x4_t second = vreinterpretq_u32_u8(vld1q_u8(packed + 64));
    const uint32x4_t third = vreinterpretq_u32_u8(vld1q_u8(packed + 128));
    const uint32x4_t six_bits = vdupq_n_u32(0x3f3f3f3f);
    const uint32x4_t low = vdupq_n_u32(0x0f0f0f0f);
    const uint32x4_t upper = vdupq_n_u32(0x30303030);
    const uint32x4_t scales[2] = {
        vandq_u32(first, six_bits),
        vorrq_u32(vandq_u32(third, low), vandq_u32(vshrq_n_u32(first, 2), upper))};
    const uint32x4_t minimums[2] = {
        vandq_u32(second, six_bits),
        vorrq_u32(vandq_u32(vshrq_n_u32(third, 4), low), vandq_u32(vshrq_n_u32(second, 2), upper))};
    const float32x4_t scale = FourOfFp16(chunk.Units<Layout::kScale, 2>(0, 0) + 8 * four);
    const float32x4_t minimum =
        vnegq_f32(FourOfFp16(chunk.Units<Layout::kMinimum, 2>(0, 0) + 8 * four));
    for (int run = 0; run < 8; ++run) {
      out.scales[run][four] = ScaleBytes(scales[run / 4], run % 4, scale);
      out.offsets[run][four] = ScaleBytes(minimums[run / 4], run % 4, minimum);
    }
  }
  static void LoadGroup(const GroupChunk& chunk, GroupScales& out) {
    for (int four = 0; four < 4; ++four) LoadFour(chunk, four, out);
  }
  static void LowBits(const GroupChunk& chunk, int run, int four, int8x16_t* words) {
    const Byte* from = chunk.Units<Layout::kNibbles, 128>(0, 32 * (run / 2)) + kWordsOfFour * four;
    for (int i = 0; i < 8; ++i) words[i] = Nibbles(from + 64 * i, run % 2 != 0);
  }
};

struct GroupedQ4K : SubScaleGroups<Q4K, Q4KLayout> {
  static void GroupWords(const GroupChunk& chunk, int run, int four, int8x16_t* words) {
    LowBits(chunk, run, four, words);
  }
};

struct GroupedQ5K : SubScaleGroups<Q5K, Q5KLayout> {
  static void GroupWords(const GroupChunk& chunk, int run, int four, int8x16_t* words) {
    LowBits(chunk, run, four, words);
    const Byte* from = chunk.Units<Q5KLayout::kHighBits, 32>(0, 0) + kWordsOfFour * four;
    const int8x16_t left = vdupq_n_s8(static_cast<int8_t>(4 - run));
    for (int i = 0; i < 8; ++i) {
      const uint8x16_t high = vandq_u8(vshlq_u8(vld1q_u8(from + 64 * i), left), vdupq_n_u8(16));
      words[i] = vorrq_s8(words[i], vreinterpretq_s8_u8(high));
    }
  }
};

struct GroupedQ6K : Q6K {
  static constexpr int kBytes = Q6KLayout::kBytes;
  static constexpr int kBlocks = 1;

  static void LoadGroup(const GroupChunk& chunk, GroupScales& out) {
    for (int four = 0; four < 4; ++four) {
      const float32x4_t scale = FourOfFp16(chunk.Units<Q6KGroupLayout::kScale, 2>(0, 0) + 8 * four);
      for (int run = 0; run < 16; ++run) {
        const Byte* from = chunk.Units<Q6KGroupLayout::kSubScales, 16>(0, run) + 4 * four;
        // Signed bytes.
        const int32x4_t high = vreinterpretq_s32_u32(vshlq_n_u32(FourBytes(from), 24));
        out.scales[run][four] = vmulq_f32(vcvtq_f32_s32(vshrq_n_s32(high, 24)), scale);
      }
    }
  }
  static void GroupWords(const GroupChunk& chunk, int run, int four, int8x16_t* words) {
    const Q6KRun of(chunk, run);
    const Byte* low = of.nibbles + kWordsOfFour * four;
    const Byte* high = of.high_bits + kWordsOfFour * four;
    const int8x16_t left = vdupq_n_s8(static_cast<int8_t>(4 - 2 * of.quarter));
    for (int i = 0; i < 4; ++i) {
      const uint8x16_t bits =
          vandq_u8(vshlq_u8(vld1q_u8(high + Q6KRun::kStride * i), left), vdupq_n_u8(0x30));
      const int8x16_t both =
          vorrq_s8(Nibbles(low + Q6KRun::kStride * i, of.quarter >= 2), vreinterpretq_s8_u8(bits));
      words[i] = vsubq_s8(both, vdupq_n_s8(32));
    }
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
