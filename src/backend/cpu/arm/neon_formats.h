// The block formats as NEON reads them: groups of four runs of values that share a scale, unpacked
// into registers of 16 int8 weights. Only neon_quant.cc includes this.
//
// A Format has
//   kRun              values that share a scale, 32 or 16
//   kGroups           groups of four runs in a chunk
//   kHasOffsets       whether Head::offsets multiply the activations' sums
//   kReadsResiduals   whether the activations have 16 bits
//   kChunkBytes       of a whole chunk
//   Load(chunk, runs)        scales and offsets of the chunk's runs; lanes beyond them are 0
//   Values(chunk, index)     values 16 * index and on, of runs that are there
#pragma once

#include <arm_neon.h>

#include "backend/block_layout.h"
#include "backend/cpu/block_factors.h"
#include "backend/cpu/kernels.h"
#include "backend/levels.h"

namespace doppler {
// Functions of one file: shared ones would bring its instructions to processors without them.
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

float LoadFp16(const Byte* from) {
  float16_t value;
  __builtin_memcpy(&value, from, sizeof(value));
  return value;
}

// The low or high nibbles of 16 bytes.
int8x16_t Nibbles(const Byte* from, bool high) {
  const uint8x16_t bytes = vld1q_u8(from);
  return vreinterpretq_s8_u8(high ? vshrq_n_u8(bytes, 4) : vandq_u8(bytes, vdupq_n_u8(15)));
}

// A lane for each run of a group.
template <int kGroups>
struct Head {
  float32x4_t scales[kGroups];
  float32x4_t offsets[kGroups];
};

// Eight bytes as floats, times `factor`.
void ScaleEight(uint64_t bytes, float factor, float32x4_t (&out)[2]) {
  const uint16x8_t wide = vmovl_u8(vcreate_u8(bytes));
  out[0] = vmulq_n_f32(vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide))), factor);
  out[1] = vmulq_n_f32(vcvtq_f32_u32(vmovl_u16(vget_high_u16(wide))), factor);
}

// What q4_k and q5_k share.
Head<2> LoadSubScales(const Byte* block, const Byte* packed) {
  const SubScaleBytes bytes = UnpackSubScales(packed);
  Head<2> out;
  ScaleEight(bytes.scales, LoadFp16(block), out.scales);
  ScaleEight(bytes.minimums, -LoadFp16(block + 2), out.offsets);
  return out;
}

// Formats that are read where they lie.
struct InPlace {
  static constexpr bool kHasOffsets = false;
  static constexpr bool kReadsResiduals = false;
};

struct Q4K : InPlace {
  static constexpr int kRun = 32;
  static constexpr int kGroups = 2;
  static constexpr bool kHasOffsets = true;
  static constexpr std::size_t kChunkBytes = Q4KLayout::kBytes;
  static Head<2> Load(const Byte* block, int) {
    return LoadSubScales(block, block + Q4KLayout::kSubScales);
  }
  static int8x16_t Values(const Byte* block, int index) {
    return Nibbles(block + Q4KLayout::kNibbles + 32 * (index / 4) + 16 * (index % 2),
                   index / 2 % 2 != 0);
  }
};

struct Q5K : InPlace {
  static constexpr int kRun = 32;
  static constexpr int kGroups = 2;
  static constexpr bool kHasOffsets = true;
  static constexpr std::size_t kChunkBytes = Q5KLayout::kBytes;
  static Head<2> Load(const Byte* block, int) {
    return LoadSubScales(block, block + Q5KLayout::kSubScales);
  }
  static int8x16_t Values(const Byte* block, int index) {
    const int run = index / 2;
    const int8x16_t low =
        Nibbles(block + Q5KLayout::kNibbles + 32 * (run / 2) + 16 * (index % 2), run % 2 != 0);
    const uint8x16_t bits = vld1q_u8(block + Q5KLayout::kHighBits + 16 * (index % 2));
    const uint8x16_t high =
        vandq_u8(vshlq_u8(bits, vdupq_n_s8(static_cast<int8_t>(-run))), vdupq_n_u8(1));
    return vorrq_s8(low, vreinterpretq_s8_u8(vshlq_n_u8(high, 4)));
  }
};

struct Q6K : InPlace {
  static constexpr int kRun = 16;
  static constexpr int kGroups = 4;
  static constexpr std::size_t kChunkBytes = Q6KLayout::kBytes;
  static Head<4> Load(const Byte* block, int) {
    const float scale = LoadFp16(block + Q6KLayout::kScale);
    const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(block + Q6KLayout::kSubScales));
    const int16x8_t low = vmovl_s8(vget_low_s8(bytes));
    const int16x8_t high = vmovl_s8(vget_high_s8(bytes));
    const int32x4_t quarters[4] = {vmovl_s16(vget_low_s16(low)), vmovl_s16(vget_high_s16(low)),
                                   vmovl_s16(vget_low_s16(high)), vmovl_s16(vget_high_s16(high))};
    Head<4> out;
    for (int i = 0; i < 4; ++i) out.scales[i] = vmulq_n_f32(vcvtq_f32_s32(quarters[i]), scale);
    return out;
  }
  static int8x16_t Values(const Byte* block, int index) {
    const int half = index / 8;
    const int quarter = index / 2 % 4;
    const int at = 16 * (index % 2);
    const int8x16_t low =
        Nibbles(block + Q6KLayout::kNibbles + 64 * half + 32 * (quarter % 2) + at, quarter >= 2);
    const uint8x16_t bits = vld1q_u8(block + Q6KLayout::kHighBits + 32 * half + at);
    const uint8x16_t high =
        vandq_u8(vshlq_u8(bits, vdupq_n_s8(static_cast<int8_t>(-2 * quarter))), vdupq_n_u8(3));
    const int8x16_t both = vorrq_s8(low, vreinterpretq_s8_u8(vshlq_n_u8(high, 4)));
    return vsubq_s8(both, vdupq_n_s8(32));
  }
};

// Formats of 32 values with one scale: a chunk is four blocks, or what is left of the row.
template <class Block, int kBytes>
struct SmallBlocks : InPlace {
  static constexpr int kRun = 32;
  static constexpr int kGroups = 1;
  static constexpr std::size_t kChunkBytes = 4 * kBytes;
  static Head<1> Load(const Byte* chunk, int runs) {
    float scales[4] = {};
    for (int run = 0; run < runs; ++run) scales[run] = Block::Scale(chunk + run * kBytes);
    return {{vld1q_f32(scales)}, {}};
  }
  static int8x16_t Values(const Byte* chunk, int index) {
    return Block::Half(chunk + index / 2 * kBytes, index % 2 != 0);
  }
};

struct Q80 : SmallBlocks<Q80, Q80Layout::kBytes> {
  static float Scale(const Byte* block) { return LoadFp16(block + Q80Layout::kScale); }
  static int8x16_t Half(const Byte* block, bool upper) {
    return vreinterpretq_s8_u8(vld1q_u8(block + Q80Layout::kValues + (upper ? 16 : 0)));
  }
};

struct Q40 : SmallBlocks<Q40, Q40Layout::kBytes> {
  static float Scale(const Byte* block) { return LoadFp16(block + Q40Layout::kScale); }
  static int8x16_t Half(const Byte* block, bool upper) {
    return vsubq_s8(Nibbles(block + Q40Layout::kNibbles, upper), vdupq_n_s8(8));
  }
};

struct Int4G32 : SmallBlocks<Int4G32, Int4G32Layout::kBytes> {
  static float Scale(const Byte* block) { return LoadBf16(block + Int4G32Layout::kScale); }
  static int8x16_t Half(const Byte* block, bool upper) {
    return vsubq_s8(Nibbles(block + Int4G32Layout::kNibbles, upper), vdupq_n_s8(8));
  }
};

// What nibbles stand for in a table of 16 levels.
int8x16_t Levels(const Byte* nibbles, bool upper, const signed char* levels) {
  return vqtbl1q_s8(vld1q_s8(levels), vreinterpretq_u8_s8(Nibbles(nibbles, upper)));
}

struct Iq4Nl : SmallBlocks<Iq4Nl, Iq4NlLayout::kBytes> {
  static float Scale(const Byte* block) { return LoadFp16(block + Iq4NlLayout::kScale); }
  static int8x16_t Half(const Byte* block, bool upper) {
    return Levels(block + Iq4NlLayout::kNibbles, upper, kIq4Levels);
  }
};

struct Mxfp4 : SmallBlocks<Mxfp4, Mxfp4Layout::kBytes> {
  static constexpr bool kReadsResiduals = true;
  static float Scale(const Byte* block) { return LoadE8M0(block + Mxfp4Layout::kExponent); }
  static int8x16_t Half(const Byte* block, bool upper) {
    return Levels(block + Mxfp4Layout::kNibbles, upper, kFp4Levels);
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
