// mxfp4 of OCP's Microscaling formats: 32 values share an exponent.
#include <limits>

#include "backend/quantize_search.h"

namespace doppler {
namespace {

// A block, as ggml has it: the exponent with a bias of 127, then 16 bytes, of which byte i holds
// value i low and value i + 16 high. Bit 3 of a code is the sign.
constexpr int kBias = 127;
constexpr int kLargestExponent = 254;  // 255 stands for NaN

// The codes 0 to 7 stand for 0, 0.5, 1, 1.5, 2, 3, 4 and 6. A magnitude above bound i is nearer to
// level i + 1 than to level i.
constexpr std::array<float, 8> kLevels = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
constexpr std::array<float, 7> kBounds = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5};

std::size_t CodeOf(float magnitude) {
  std::size_t code = 0;
  for (const float bound : kBounds) code += magnitude > bound ? 1 : 0;
  return code;
}

float ErrorAt(std::span<const float, 32> values, int exponent) {
  const float scale = std::ldexp(1.0f, exponent);
  const float inverse = std::ldexp(1.0f, -exponent);
  float error = 0;
  for (const float value : values) {
    const float magnitude = std::abs(value);
    const float difference = scale * kLevels[CodeOf(magnitude * inverse)] - magnitude;
    error += difference * difference;
  }
  return error;
}

// The standard takes the largest exponent with which the extreme value has a code of its own order;
// the one above, which does not cut values from 6 to 8 down to 6, is often closer, and the one
// below sometimes.
int FindExponent(std::span<const float, 32> values) {
  const int standard = std::ilogb(Extreme(values)) - 2;
  int best = standard;
  float least = std::numeric_limits<float>::infinity();
  for (const int exponent : {standard, standard + 1, standard - 1}) {
    const float error = ErrorAt(values, exponent);
    if (error >= least) continue;
    least = error;
    best = exponent;
  }
  return std::clamp(best, -kBias, kLargestExponent - kBias);
}

}  // namespace

void QuantizeMxfp4(std::span<const float, 32> values, std::uint8_t* block) {
  std::fill_n(block, 17, std::uint8_t{0});
  if (std::abs(Extreme(values)) < kNoMagnitude) return;
  const int exponent = FindExponent(values);
  const float inverse = std::ldexp(1.0f, -exponent);
  block[0] = static_cast<std::uint8_t>(exponent + kBias);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t code = CodeOf(std::abs(values[i]) * inverse);
    const std::size_t sign = values[i] < 0 && code != 0 ? 8 : 0;
    block[1 + i % 16] |= static_cast<std::uint8_t>((code | sign) << (i < 16 ? 0 : 4));
  }
}

}  // namespace doppler
