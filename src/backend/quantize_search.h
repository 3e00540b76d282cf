// What the searches behind Quantize share. Each looks for the scales of a block that leave the
// least squared error; docs/kernels.md says how they compare with ggml's.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/float16.h"

namespace doppler {

// Blocks of the types whose scales are searched for. `values` are finite and within f16's range.
void QuantizeQ40(std::span<const float, 32> values, std::uint8_t* block);
void QuantizeQ4K(std::span<const float, 256> values, std::uint8_t* block);
void QuantizeQ5K(std::span<const float, 256> values, std::uint8_t* block);
void QuantizeQ6K(std::span<const float, 256> values, std::uint8_t* block);
void QuantizeMxfp4(std::span<const float, 32> values, std::uint8_t* block);

// Below this a block is all zeros: its f16 scale would be 0 whatever the type.
inline constexpr float kNoMagnitude = 1e-12f;

// Sums are kept in this many parts, which the compiler adds in vector registers.
inline constexpr std::size_t kLanes = 8;
using Lanes = std::array<float, kLanes>;

inline float Total(const Lanes& lanes) {
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

// To the nearest integer, ties to even, without a call: |value| < 2^22.
inline float Nearest(float value) { return (value + 0x1.8p23f) - 0x1.8p23f; }

inline float NearestWithin(float value, float low, float high) {
  return Nearest(std::min(std::max(value, low), high));
}

inline float AsFp16(float value) { return Fp16ToFloat(FloatToFp16(value)); }

// The scale as f16 holds it, and the values next to it: where one value is much larger than the
// others, the rounding of the scale is what counts.
inline std::array<float, 3> AroundFp16(float scale) {
  const float rounded = AsFp16(scale);
  const float step = std::max(std::abs(rounded) * 0x1p-10f, 0x1p-24f);
  return {rounded, AsFp16(rounded - step), AsFp16(rounded + step)};
}

inline void StoreFp16(float value, std::uint8_t* to) {
  const std::uint16_t bits = FloatToFp16(value);
  std::memcpy(to, &bits, sizeof(bits));
}

// The value of the largest magnitude, with its sign.
inline float Extreme(std::span<const float> values) {
  float extreme = 0;
  for (const float value : values) {
    if (std::abs(value) > std::abs(extreme)) extreme = value;
  }
  return extreme;
}

// Least squares of x on q, for x = scale * q.
struct ScaleSums {
  float xq = 0;
  float qq = 0;

  float Scale() const { return qq > 0 ? xq / qq : 0; }
  // By how much that scale lowers the squared error.
  float Gain() const { return qq > 0 ? xq * xq / qq : 0; }
};

template <std::size_t kCount>
ScaleSums SumsAt(std::span<const float, kCount> values, float inverse, float low, float high) {
  Lanes xq{};
  Lanes qq{};
  for (std::size_t i = 0; i < kCount; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float x = values[i + lane];
      const float q = NearestWithin(inverse * x, low, high);
      xq[lane] += x * q;
      qq[lane] += q * q;
    }
  }
  return {.xq = Total(xq), .qq = Total(qq)};
}

// The scale, of either sign, for x = scale * q with q from -half to half - 1. Tries rounding with
// slopes around those that put the extreme value at an end of the range.
template <std::size_t kCount>
float FindScale(std::span<const float, kCount> values, int half) {
  const float extreme = Extreme(values);
  if (std::abs(extreme) < kNoMagnitude) return 0;
  constexpr int kSteps = 8;
  const auto end = static_cast<float>(half);
  ScaleSums best;
  for (const float sign : {-1.0f, 1.0f}) {
    for (int step = -kSteps; step <= kSteps; ++step) {
      const float slope = sign * (end + 0.15f * static_cast<float>(step)) / extreme;
      const ScaleSums sums = SumsAt(values, slope, -end, end - 1);
      if (sums.Gain() > best.Gain()) best = sums;
    }
  }
  return best.Scale();
}

}  // namespace doppler
