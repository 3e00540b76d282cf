#include "backend/quantize_q4_k.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "backend/block_layout.h"
#include "backend/sub_scales.h"
#include "base/float16.h"

namespace doppler {
namespace {

constexpr std::size_t kSubBlock = 32;
constexpr int kMaxQ = 15;
constexpr int kMaxSub = 63;

using SubBlock = std::span<const float, kSubBlock>;

// A value x of a sub-block is stored as q = round((x + minimum) / scale), 0 to 15, and read as
// scale * q - minimum. The format has no sign for `minimum`, so it is not negative.
struct Line {
  float scale = 0;
  float minimum = 0;
};

int NearestQ(float value) { return std::clamp(static_cast<int>(std::lrint(value)), 0, kMaxQ); }

// Large values matter more than small ones, but none nothing.
std::array<float, kSubBlock> Weights(SubBlock values) {
  float squares = 0;
  for (const float x : values) squares += x * x;
  const float root_mean_square = std::sqrt(squares / static_cast<float>(kSubBlock));
  std::array<float, kSubBlock> weights;
  for (std::size_t i = 0; i < kSubBlock; ++i) weights[i] = root_mean_square + std::abs(values[i]);
  return weights;
}

// The sums that the weighted regression of x on q needs.
struct Sums {
  float w = 0, q = 0, qq = 0, x = 0, qx = 0;
};

// Least squares for x = scale * q - minimum with the q of the sums; `fallback` where all q agree.
Line Fit(const Sums& sums, Line fallback) {
  const float determinant = sums.w * sums.qq - sums.q * sums.q;
  if (!(determinant > 0)) return fallback;
  const float scale = (sums.w * sums.qx - sums.x * sums.q) / determinant;
  const float minimum = (sums.q * sums.qx - sums.qq * sums.x) / determinant;
  if (minimum >= 0) return {.scale = scale, .minimum = minimum};
  return {.scale = sums.qx / sums.qq, .minimum = 0};
}

// Tries rounding with slopes around the one that spans the range, fits a line to each rounding and
// keeps the line with the least weighted squared error.
Line FindLine(SubBlock values) {
  const auto weights = Weights(values);
  const float low = std::min(0.0f, *std::min_element(values.begin(), values.end()));
  const float high = *std::max_element(values.begin(), values.end());
  if (!(high > low)) return {.scale = 0, .minimum = -low};
  Line best;
  float best_error = std::numeric_limits<float>::infinity();
  for (int step = -20; step <= 20; ++step) {
    const float steps = static_cast<float>(kMaxQ) + 0.1f * static_cast<float>(step);
    const float inverse = steps / (high - low);
    std::array<float, kSubBlock> q;
    Sums sums;
    for (std::size_t i = 0; i < kSubBlock; ++i) {
      q[i] = static_cast<float>(NearestQ(inverse * (values[i] - low)));
      const float wq = weights[i] * q[i];
      sums.w += weights[i];
      sums.q += wq;
      sums.qq += wq * q[i];
      sums.x += weights[i] * values[i];
      sums.qx += wq * values[i];
    }
    const Line line = Fit(sums, {.scale = 1 / inverse, .minimum = -low});
    float error = 0;
    for (std::size_t i = 0; i < kSubBlock; ++i) {
      const float difference = line.scale * q[i] - line.minimum - values[i];
      error += weights[i] * difference * difference;
    }
    if (error < best_error) {
      best_error = error;
      best = line;
    }
  }
  return best;
}

void StoreFp16(float value, std::uint8_t* to) {
  const std::uint16_t bits = FloatToFp16(value);
  std::memcpy(to, &bits, sizeof(bits));
}

std::uint8_t NearestSub(float value, float largest) {
  if (!(largest > 0)) return 0;
  const auto sub = std::lrint(static_cast<float>(kMaxSub) / largest * value);
  return static_cast<std::uint8_t>(std::clamp(sub, 0L, static_cast<long>(kMaxSub)));
}

}  // namespace

void QuantizeQ4K(std::span<const float, 256> values, std::uint8_t* block) {
  std::array<Line, 8> lines;
  Line largest;
  for (std::size_t j = 0; j < 8; ++j) {
    lines[j] = FindLine(SubBlock(values.subspan(kSubBlock * j, kSubBlock)));
    largest.scale = std::max(largest.scale, lines[j].scale);
    largest.minimum = std::max(largest.minimum, lines[j].minimum);
  }
  SubScales sub;
  for (std::size_t j = 0; j < 8; ++j) {
    sub.scales[j] = NearestSub(lines[j].scale, largest.scale);
    sub.minimums[j] = NearestSub(lines[j].minimum, largest.minimum);
  }
  StoreFp16(largest.scale / kMaxSub, block + Q4KLayout::kScale);
  StoreFp16(largest.minimum / kMaxSub, block + Q4KLayout::kMinimum);
  PackSubScales(sub, block + Q4KLayout::kSubScales);

  // The values are rounded against the scales as stored, not as found.
  const float scale = Fp16ToFloat(FloatToFp16(largest.scale / kMaxSub));
  const float minimum = Fp16ToFloat(FloatToFp16(largest.minimum / kMaxSub));
  std::uint8_t* nibbles = block + Q4KLayout::kNibbles;
  std::fill_n(nibbles, 128, std::uint8_t{0});
  for (std::size_t i = 0; i < 256; ++i) {
    const std::size_t j = i / kSubBlock;
    const float sub_scale = scale * static_cast<float>(sub.scales[j]);
    if (sub_scale == 0) continue;
    const float sub_minimum = minimum * static_cast<float>(sub.minimums[j]);
    const int q = NearestQ((values[i] + sub_minimum) / sub_scale);
    nibbles[kSubBlock * (j / 2) + i % kSubBlock] |= static_cast<std::uint8_t>(q << (4 * (j % 2)));
  }
}

}  // namespace doppler
