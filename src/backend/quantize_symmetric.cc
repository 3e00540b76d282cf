// q4_0 and q6_k: scales without minimums.
#include <limits>

#include "backend/block_layout.h"
#include "backend/quantize_search.h"

namespace doppler {
namespace {

constexpr int kHalf4 = 8;
constexpr int kHalf6 = 32;
constexpr std::size_t kQ6KSubBlock = 16;
constexpr std::size_t kQ6KSubBlocks = 16;

// The q of a value whose scale is `1 / inverse`, moved to 0 to 2 half - 1.
int CodeOf(float value, float inverse, int half) {
  const auto end = static_cast<float>(half);
  return static_cast<int>(NearestWithin(value * inverse, -end, end - 1)) + half;
}

float SignedInverse(float scale) { return scale != 0 ? 1 / scale : 0; }

struct Q6KScales {
  float scale = 0;                          // as f16 holds it
  std::array<float, kQ6KSubBlocks> subs{};  // whole numbers, -128 to 127
  float error = std::numeric_limits<float>::infinity();
};

std::span<const float, kQ6KSubBlock> SubBlockOf(std::span<const float, 256> values, std::size_t j) {
  return std::span<const float, kQ6KSubBlock>(values.data() + kQ6KSubBlock * j, kQ6KSubBlock);
}

template <std::size_t kCount>
float ErrorAt(std::span<const float, kCount> values, float scale, int half) {
  const float inverse = SignedInverse(scale);
  const auto end = static_cast<float>(half);
  Lanes sum{};
  for (std::size_t i = 0; i < kCount; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float x = values[i + lane];
      const float difference = scale * NearestWithin(inverse * x, -end, end - 1) - x;
      sum[lane] += difference * difference;
    }
  }
  return Total(sum);
}

// The f16 scale of a q4_0 block. The scale that puts the extreme value at the range's end, exactly
// but for f16, is tried as well: no block is then worse than by the plain rule.
float FindQ40Scale(std::span<const float, 32> values) {
  float best = 0;
  float least = std::numeric_limits<float>::infinity();
  for (const float found : {FindScale(values, kHalf4), Extreme(values) / -kHalf4}) {
    for (const float scale : AroundFp16(found)) {
      const float error = ErrorAt(values, scale, kHalf4);
      if (error >= least) continue;
      least = error;
      best = scale;
    }
  }
  return best;
}

// Moves each sub-scale to the best of its neighbours.
void ChooseSubScales(std::span<const float, 256> values, Q6KScales& scales) {
  scales.error = 0;
  for (std::size_t j = 0; j < kQ6KSubBlocks; ++j) {
    const float centre = scales.subs[j];
    float least = std::numeric_limits<float>::infinity();
    for (const float move : {0.0f, -1.0f, 1.0f}) {
      const float sub = std::clamp(centre + move, -128.0f, 127.0f);
      const float error = ErrorAt(SubBlockOf(values, j), scales.scale * sub, kHalf6);
      if (error >= least) continue;
      least = error;
      scales.subs[j] = sub;
    }
    scales.error += least;
  }
}

// The scale that fits best the codes that the present scales give.
float RefitScale(std::span<const float, 256> values, const Q6KScales& scales) {
  ScaleSums all;
  for (std::size_t j = 0; j < kQ6KSubBlocks; ++j) {
    const float sub = scales.subs[j];
    const ScaleSums sums =
        SumsAt(SubBlockOf(values, j), SignedInverse(scales.scale * sub), -kHalf6, kHalf6 - 1);
    all.xq += sub * sums.xq;
    all.qq += sub * sub * sums.qq;
  }
  return all.Scale();
}

// Keeps `best` or what comes of `scale` with the given sub-scales.
void Try(std::span<const float, 256> values, float scale,
         const std::array<float, kQ6KSubBlocks>& sub_scales, Q6KScales& best) {
  Q6KScales next = {.scale = scale, .subs = sub_scales};
  ChooseSubScales(values, next);
  if (next.error < best.error) best = next;
}

Q6KScales FindQ6KScales(std::span<const float, 256> values) {
  std::array<float, kQ6KSubBlocks> found;
  for (std::size_t j = 0; j < kQ6KSubBlocks; ++j)
    found[j] = FindScale(SubBlockOf(values, j), kHalf6);
  Q6KScales best;
  for (const float largest : {-128.0f, -127.0f, -126.0f, -125.0f}) {
    const float scale = AsFp16(Extreme(found) / largest);
    const float inverse = SignedInverse(scale);
    std::array<float, kQ6KSubBlocks> subs;
    for (std::size_t j = 0; j < kQ6KSubBlocks; ++j) {
      subs[j] = NearestWithin(found[j] * inverse, -128, 127);
    }
    Try(values, scale, subs, best);
  }
  constexpr int kRounds = 2;
  for (int round = 0; round < kRounds; ++round) {
    const std::array<float, kQ6KSubBlocks> subs = best.subs;
    for (const float scale : AroundFp16(RefitScale(values, best))) Try(values, scale, subs, best);
  }
  return best;
}

}  // namespace

void QuantizeQ40(std::span<const float, 32> values, std::uint8_t* block) {
  const float scale = FindQ40Scale(values);
  const float inverse = SignedInverse(scale);
  StoreFp16(scale, block + Q40Layout::kScale);
  for (std::size_t i = 0; i < 16; ++i) {
    const int low = CodeOf(values[i], inverse, kHalf4);
    const int high = CodeOf(values[i + 16], inverse, kHalf4);
    block[Q40Layout::kNibbles + i] = static_cast<std::uint8_t>(low | (high << 4));
  }
}

void QuantizeQ6K(std::span<const float, 256> values, std::uint8_t* block) {
  const Q6KScales scales = FindQ6KScales(values);
  std::fill_n(block, Q6KLayout::kBytes, std::uint8_t{0});
  StoreFp16(scales.scale, block + Q6KLayout::kScale);
  for (std::size_t j = 0; j < kQ6KSubBlocks; ++j) {
    const auto sub = static_cast<std::int8_t>(scales.subs[j]);
    block[Q6KLayout::kSubScales + j] = static_cast<std::uint8_t>(sub);
  }
  for (std::size_t i = 0; i < 256; ++i) {
    const float inverse = SignedInverse(scales.scale * scales.subs[i / kQ6KSubBlock]);
    const auto code = static_cast<unsigned>(CodeOf(values[i], inverse, kHalf6));
    const std::size_t half = i / 128;
    const std::size_t quarter = i % 128 / 32;
    const std::size_t nibble = 64 * half + 32 * (quarter % 2) + i % 32;
    const std::size_t high = 32 * half + i % 32;
    block[Q6KLayout::kNibbles + nibble] |=
        static_cast<std::uint8_t>((code & 15u) << (quarter < 2 ? 0 : 4));
    block[Q6KLayout::kHighBits + high] |= static_cast<std::uint8_t>((code >> 4) << (2 * quarter));
  }
}

}  // namespace doppler
