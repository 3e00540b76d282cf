// More block formats as neon_formats.h has them: those without a codebook. Only neon_quant.cc
// includes this.
#pragma once

#include <arm_neon.h>

#include "backend/cpu/arm/neon_formats.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// -1 in the bytes whose bit is set: eight bits of `first`, then eight of `second`.
uint8x16_t BytesOfBits(unsigned first, unsigned second) {
  const uint8x16_t bits =
      vcombine_u8(vdup_n_u8(static_cast<uint8_t>(first)), vdup_n_u8(static_cast<uint8_t>(second)));
  const uint8x16_t each = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
  return vtstq_u8(bits, each);
}

// Formats of 32 values that begin with an f16 scale and an f16 minimum.
template <class Block, int kBytes>
struct MinimumBlocks : SmallBlocks<Block, kBytes> {
  static constexpr bool kHasOffsets = true;
  static Head<1> Load(const Byte* chunk, int runs) {
    float scales[4] = {};
    float minimums[4] = {};
    for (int run = 0; run < runs; ++run) {
      scales[run] = LoadFp16(chunk + run * kBytes);
      minimums[run] = LoadFp16(chunk + run * kBytes + 2);
    }
    return {{vld1q_f32(scales)}, {vld1q_f32(minimums)}};
  }
};

struct Q41 : MinimumBlocks<Q41, Q41Layout::kBytes> {
  static_assert(Q41Layout::kScale == 0 && Q41Layout::kMinimum == 2);
  static int8x16_t Half(const Byte* block, bool upper) {
    return Nibbles(block + Q41Layout::kNibbles, upper);
  }
};

// Half of the 32 high bits: `on` where one is set.
int8x16_t FifthBits(const Byte* high_bits, bool upper, int8_t on) {
  const Byte* two = high_bits + (upper ? 2 : 0);
  return vandq_s8(vreinterpretq_s8_u8(BytesOfBits(two[0], two[1])), vdupq_n_s8(on));
}

struct Q50 : SmallBlocks<Q50, Q50Layout::kBytes> {
  static float Scale(const Byte* block) { return LoadFp16(block + Q50Layout::kScale); }
  static int8x16_t Half(const Byte* block, bool upper) {
    const int8x16_t low = Nibbles(block + Q50Layout::kNibbles, upper);
    const int8x16_t both = vorrq_s8(low, FifthBits(block + Q50Layout::kHighBits, upper, 16));
    return vsubq_s8(both, vdupq_n_s8(16));
  }
};

struct Q51 : MinimumBlocks<Q51, Q51Layout::kBytes> {
  static_assert(Q51Layout::kScale == 0 && Q51Layout::kMinimum == 2);
  static int8x16_t Half(const Byte* block, bool upper) {
    const int8x16_t low = Nibbles(block + Q51Layout::kNibbles, upper);
    return vorrq_s8(low, FifthBits(block + Q51Layout::kHighBits, upper, 16));
  }
};

// Formats of 256 values, with a scale for each kRunLength.
template <int kRunLength, int kBytes>
struct SuperBlocks : InPlace {
  static constexpr int kRun = kRunLength;
  static constexpr int kGroups = 64 / kRunLength;
  static constexpr std::size_t kChunkBytes = kBytes;
};

// Two bits of each of 16 values.
uint8x16_t TwoBits(const Byte* bits, int index) {
  const uint8x16_t bytes = vld1q_u8(bits + 32 * (index / 8) + 16 * (index % 2));
  const auto right = static_cast<int8_t>(-2 * (index / 2 % 4));
  return vandq_u8(vshlq_u8(bytes, vdupq_n_s8(right)), vdupq_n_u8(3));
}

struct Q2K : SuperBlocks<16, Q2KLayout::kBytes> {
  static constexpr bool kHasOffsets = true;
  static Head<4> Load(const Byte* block, int) {
    const float scale = LoadFp16(block + Q2KLayout::kScale);
    const float minimum = -LoadFp16(block + Q2KLayout::kMinimum);
    Head<4> out;
    for (int half = 0; half < 2; ++half) {
      uint64_t bytes;
      __builtin_memcpy(&bytes, block + Q2KLayout::kSubScales + 8 * half, sizeof(bytes));
      float32x4_t two[2];
      ScaleEight(bytes & 0x0f0f0f0f0f0f0f0fu, scale, two);
      out.scales[2 * half] = two[0];
      out.scales[2 * half + 1] = two[1];
      ScaleEight(bytes >> 4 & 0x0f0f0f0f0f0f0f0fu, minimum, two);
      out.offsets[2 * half] = two[0];
      out.offsets[2 * half + 1] = two[1];
    }
    return out;
  }
  static int8x16_t Values(const Byte* block, int index) {
    return vreinterpretq_s8_u8(TwoBits(block + Q2KLayout::kBits, index));
  }
};

struct Q3K : SuperBlocks<16, Q3KLayout::kBytes> {
  static Head<4> Load(const Byte* block, int) {
    const float scale = LoadFp16(block + Q3KLayout::kScale);
    const Byte* packed = block + Q3KLayout::kSubScales;
    Head<4> out;
    for (int group = 0; group < 4; ++group) {
      float scales[4];
      for (int i = 0; i < 4; ++i) {
        const int sub = 4 * group + i;
        const int low = packed[sub % 8] >> (sub < 8 ? 0 : 4) & 15;
        const int high = packed[8 + i] >> (2 * group) & 3;
        scales[i] = scale * static_cast<float>((low | high << 4) - 32);
      }
      out.scales[group] = vld1q_f32(scales);
    }
    return out;
  }
  static int8x16_t Values(const Byte* block, int index) {
    const uint8x16_t bits = vld1q_u8(block + Q3KLayout::kHighBits + 16 * (index % 2));
    const uint8x16_t set = vtstq_u8(bits, vdupq_n_u8(static_cast<uint8_t>(1 << (index / 2))));
    // 4 less, unless the third bit is set.
    const uint8x16_t less = vbicq_u8(vdupq_n_u8(4), set);
    return vreinterpretq_s8_u8(vsubq_u8(TwoBits(block + Q3KLayout::kBits, index), less));
  }
};

struct Iq4Xs : SuperBlocks<32, Iq4XsLayout::kBytes> {
  static Head<2> Load(const Byte* block, int) {
    const float scale = LoadFp16(block + Iq4XsLayout::kScale);
    unsigned short high_scales;
    __builtin_memcpy(&high_scales, block + Iq4XsLayout::kHighScales, sizeof(high_scales));
    float scales[8];
    for (int run = 0; run < 8; ++run) {
      const int low = block[Iq4XsLayout::kLowScales + run / 2] >> (4 * (run % 2)) & 15;
      const int high = high_scales >> (2 * run) & 3;
      scales[run] = scale * static_cast<float>((low | high << 4) - 32);
    }
    return {{vld1q_f32(scales), vld1q_f32(scales + 4)}, {}};
  }
  static int8x16_t Values(const Byte* block, int index) {
    return Levels(block + Iq4XsLayout::kNibbles + 16 * (index / 2), index % 2 != 0, kIq4Levels);
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
