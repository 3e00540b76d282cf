// The formats that pick points from codebooks, as neon_formats.h has the others. Only neon_quant.cc
// includes this.
//
// 16 values are two points of eight, or four of four. An index has no more bits than its codebook
// needs, so that none lies outside.
#pragma once

#include <arm_neon.h>

#include "backend/cpu/arm/neon_plain_formats.h"
#include "backend/iq_tables.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

unsigned LoadWord(const Byte* from) {
  unsigned word;
  __builtin_memcpy(&word, from, sizeof(word));
  return word;
}
unsigned LoadShort(const Byte* from) {
  unsigned short word;
  __builtin_memcpy(&word, from, sizeof(word));
  return word;
}

template <class Book>
const signed char* PointsOf(const Book& book) {
  return reinterpret_cast<const signed char*>(&book);
}

// Two points of eight.
int8x16_t TwoPoints(const signed char* points, unsigned first, unsigned second) {
  return vcombine_s8(vld1_s8(points + 8 * std::size_t{first}),
                     vld1_s8(points + 8 * std::size_t{second}));
}

// Four points of four; `index(i)` is that of point i.
template <class Index>
int8x16_t FourPoints(const signed char* points, const Index& index) {
  unsigned words[4];
  for (int i = 0; i < 4; ++i) {
    __builtin_memcpy(words + i, points + 4 * std::size_t{index(i)}, sizeof(words[i]));
  }
  return vreinterpretq_s8_u32(vld1q_u32(words));
}

// Sizes with their signs: bits that are set for negative values.
int8x16_t WithSigns(int8x16_t sizes, uint8x16_t negative) {
  const int8x16_t mask = vreinterpretq_s8_u8(negative);
  return vsubq_s8(veorq_s8(sizes, mask), mask);
}

// The same with seven signs for each eight values; the eighth makes their number even.
int8x16_t WithEvenSigns(int8x16_t sizes, unsigned first, unsigned second) {
  const uint8x16_t sevens = vcombine_u8(vdup_n_u8(static_cast<uint8_t>(first & 127u)),
                                        vdup_n_u8(static_cast<uint8_t>(second & 127u)));
  const uint8x16_t signs = vorrq_u8(sevens, vshlq_n_u8(vcntq_u8(sevens), 7));
  const uint8x16_t each = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
  return WithSigns(sizes, vtstq_u8(signs, each));
}

// Heads whose scale `i` is of(i).
template <int kGroups, class Of>
Head<kGroups> Scales(const Of& of) {
  float scales[4 * kGroups];
  for (int i = 0; i < 4 * kGroups; ++i) scales[i] = of(i);
  Head<kGroups> out;
  for (int group = 0; group < kGroups; ++group) out.scales[group] = vld1q_f32(scales + 4 * group);
  return out;
}
float HalfScale(float scale, unsigned sub_scale, float step) {
  return scale * (0.5f + static_cast<float>(sub_scale)) * step;
}
float OddScale(float scale, unsigned sub_scale) {
  return scale * static_cast<float>(2 * sub_scale + 1);
}
// Nibble `i` of some bytes.
unsigned NibbleOf(const Byte* bytes, int i) {
  return unsigned{bytes[i / 2]} >> (4 * (i % 2)) & 15u;
}

struct Iq3Xxs : SuperBlocks<32, Iq3XxsLayout::kBytes> {
  static unsigned Word(const Byte* block, int run) {
    return LoadWord(block + Iq3XxsLayout::kSigns + 4 * run);
  }
  static Head<2> Load(const Byte* block, int) {
    const float scale = LoadFp16(block + Iq3XxsLayout::kScale);
    return Scales<2>([&](int run) { return HalfScale(scale, Word(block, run) >> 28, 0.5f); });
  }
  static int8x16_t Values(const Byte* block, int index) {
    const Byte* at = block + Iq3XxsLayout::kPoints + 4 * index;
    const int8x16_t sizes =
        FourPoints(PointsOf(kIq3XxsPoints), [at](int i) { return unsigned{at[i]}; });
    const unsigned signs = Word(block, index / 2) >> (14 * (index % 2));
    return WithEvenSigns(sizes, signs, signs >> 7);
  }
};

struct Iq3S : SuperBlocks<32, Iq3SLayout::kBytes> {
  static Head<2> Load(const Byte* block, int) {
    const float scale = LoadFp16(block + Iq3SLayout::kScale);
    return Scales<2>(
        [&](int run) { return OddScale(scale, NibbleOf(block + Iq3SLayout::kSubScales, run)); });
  }
  static int8x16_t Values(const Byte* block, int index) {
    const Byte* low = block + Iq3SLayout::kPoints + 4 * index;
    const unsigned high = unsigned{block[Iq3SLayout::kHighBits + index / 2]} >> (4 * (index % 2));
    const int8x16_t sizes = FourPoints(
        PointsOf(kIq3SPoints), [low, high](int i) { return low[i] | (high >> i & 1u) << 8; });
    const Byte* signs = block + Iq3SLayout::kSigns + 2 * index;
    return WithSigns(sizes, BytesOfBits(signs[0], signs[1]));
  }
};

struct Iq2Xxs : SuperBlocks<32, Iq2XxsLayout::kBytes> {
  static unsigned Word(const Byte* block, int run) {
    return LoadWord(block + Iq2XxsLayout::kPoints + 8 * run + 4);
  }
  static Head<2> Load(const Byte* block, int) {
    const float scale = LoadFp16(block + Iq2XxsLayout::kScale);
    return Scales<2>([&](int run) { return HalfScale(scale, Word(block, run) >> 28, 0.25f); });
  }
  static int8x16_t Values(const Byte* block, int index) {
    const Byte* at = block + Iq2XxsLayout::kPoints + 8 * (index / 2) + 2 * (index % 2);
    const unsigned signs = Word(block, index / 2) >> (14 * (index % 2));
    return WithEvenSigns(TwoPoints(PointsOf(kIq2XxsPoints), at[0], at[1]), signs, signs >> 7);
  }
};

struct Iq2Xs : SuperBlocks<16, Iq2XsLayout::kBytes> {
  static Head<4> Load(const Byte* block, int) {
    const float scale = LoadFp16(block + Iq2XsLayout::kScale);
    return Scales<4>([&](int run) {
      return HalfScale(scale, NibbleOf(block + Iq2XsLayout::kSubScales, run), 0.25f);
    });
  }
  static int8x16_t Values(const Byte* block, int index) {
    const Byte* at = block + Iq2XsLayout::kPoints + 4 * index;
    const unsigned first = LoadShort(at);
    const unsigned second = LoadShort(at + 2);
    return WithEvenSigns(TwoPoints(PointsOf(kIq2XsPoints), first & 511u, second & 511u), first >> 9,
                         second >> 9);
  }
};

struct Iq2S : SuperBlocks<16, Iq2SLayout::kBytes> {
  static Head<4> Load(const Byte* block, int) {
    const float scale = LoadFp16(block + Iq2SLayout::kScale);
    return Scales<4>([&](int run) {
      return HalfScale(scale, NibbleOf(block + Iq2SLayout::kSubScales, run), 0.25f);
    });
  }
  static int8x16_t Values(const Byte* block, int index) {
    const Byte* low = block + Iq2SLayout::kPoints + 2 * index;
    const unsigned high = NibbleOf(block + Iq2SLayout::kHighBits, index);
    const int8x16_t sizes =
        TwoPoints(PointsOf(kIq2SPoints), low[0] | (high & 3u) << 8, low[1] | (high >> 2) << 8);
    const Byte* signs = block + Iq2SLayout::kSigns + 2 * index;
    return WithSigns(sizes, BytesOfBits(signs[0], signs[1]));
  }
};

// The points of iq1 are moved by an eighth, down where a bit is set and up elsewhere, and counted
// in eighths.
int8x16_t Moved(int8x16_t points, bool first_down, bool second_down) {
  return vaddq_s8(points,
                  vcombine_s8(vdup_n_s8(first_down ? -1 : 1), vdup_n_s8(second_down ? -1 : 1)));
}

struct Iq1S : SuperBlocks<32, Iq1SLayout::kBytes> {
  static unsigned Word(const Byte* block, int run) {
    return LoadShort(block + Iq1SLayout::kHighBits + 2 * run);
  }
  static Head<2> Load(const Byte* block, int) {
    const float scale = LoadFp16(block + Iq1SLayout::kScale) * 0.125f;
    return Scales<2>([&](int run) { return OddScale(scale, Word(block, run) >> 12 & 7u); });
  }
  static int8x16_t Values(const Byte* block, int index) {
    const Byte* low = block + Iq1SLayout::kPoints + 2 * index;
    const unsigned word = Word(block, index / 2);
    const unsigned high = word >> (6 * (index % 2));
    const bool down = (word & 0x8000u) != 0;
    return Moved(
        TwoPoints(PointsOf(kIq1Points), low[0] | (high & 7u) << 8, low[1] | (high >> 3 & 7u) << 8),
        down, down);
  }
};

struct Iq1M : SuperBlocks<16, Iq1MLayout::kBytes> {
  static Head<4> Load(const Byte* block, int) {
    const auto word = [block](int i) { return LoadShort(block + Iq1MLayout::kSubScales + 2 * i); };
    unsigned bits = 0;
    for (int i = 0; i < 4; ++i) bits |= word(i) >> 12 << (4 * i);
    const Byte fp16[2] = {static_cast<Byte>(bits & 255u), static_cast<Byte>(bits >> 8)};
    const float scale = LoadFp16(fp16) * 0.125f;
    return Scales<4>(
        [&](int run) { return OddScale(scale, word(run / 4) >> (3 * (run % 4)) & 7u); });
  }
  static int8x16_t Values(const Byte* block, int index) {
    const Byte* low = block + Iq1MLayout::kPoints + 2 * index;
    const unsigned high = block[Iq1MLayout::kHighBits + index];
    return Moved(
        TwoPoints(PointsOf(kIq1Points), low[0] | (high & 7u) << 8, low[1] | (high >> 4 & 7u) << 8),
        (high & 8u) != 0, (high & 128u) != 0);
  }
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
