// q4_k and q5_k: sub-blocks with a scale and a minimum each.
#include <limits>

#include "backend/block_layout.h"
#include "backend/quantize_search.h"
#include "backend/sub_scales.h"

namespace doppler {
namespace {

constexpr std::size_t kSubBlock = 32;
constexpr std::size_t kSubBlocks = 8;
constexpr float kMaxSub = 63;

using SubBlock = std::span<const float, kSubBlock>;
using Block = std::span<const float, kSubBlock * kSubBlocks>;

// Values of a sub-block, and how much the squared error of each counts.
struct Weighted {
  SubBlock values;
  SubBlock weights;
};

// How the error of a value counts; docs/decisions.md says how the types came to theirs.
enum class ErrorWeight {
  kEqual,
  kMagnitude,  // the root mean square of the sub-block plus the magnitude, as ggml has it
};

// A block with its weights.
class WeightedBlock {
 public:
  WeightedBlock(Block values, ErrorWeight rule) : values_(values) {
    if (rule == ErrorWeight::kEqual) {
      weights_.fill(1);
      return;
    }
    for (std::size_t j = 0; j < kSubBlocks; ++j) {
      const SubBlock part = Part(values_.data(), j);
      float squares = 0;
      for (const float x : part) squares += x * x;
      const float root_mean_square = std::sqrt(squares / static_cast<float>(kSubBlock));
      for (std::size_t i = 0; i < kSubBlock; ++i) {
        weights_[kSubBlock * j + i] = root_mean_square + std::abs(part[i]);
      }
    }
  }

  Weighted operator[](std::size_t j) const {
    return {.values = Part(values_.data(), j), .weights = Part(weights_.data(), j)};
  }

 private:
  static SubBlock Part(const float* of, std::size_t j) {
    return SubBlock(of + kSubBlock * j, kSubBlock);
  }

  Block values_;
  std::array<float, kSubBlock * kSubBlocks> weights_;
};

float Inverse(float scale) { return scale > 0 ? 1 / scale : 0; }

// A value x is stored as q = round((x + minimum) / scale), from 0 to `max_q`, and read as
// scale * q - minimum. The formats have no sign for either.
struct Line {
  float scale = 0;
  float minimum = 0;
};

// Weighted sums over the values y = x - low of a sub-block and their q.
struct LineSums {
  double w = 0, q = 0, qq = 0, y = 0, yy = 0, qy = 0;
};

LineSums SumsOf(const Weighted& part, float low, float inverse, float max_q) {
  Lanes w_sum{}, q_sum{}, qq{}, y_sum{}, yy{}, qy{};
  for (std::size_t i = 0; i < kSubBlock; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float w = part.weights[i + lane];
      const float y = part.values[i + lane] - low;
      const float q = NearestWithin(inverse * y, 0, max_q);
      const float wq = w * q;
      const float wy = w * y;
      w_sum[lane] += w;
      q_sum[lane] += wq;
      qq[lane] += wq * q;
      y_sum[lane] += wy;
      yy[lane] += wy * y;
      qy[lane] += wq * y;
    }
  }
  return {.w = Total(w_sum),
          .q = Total(q_sum),
          .qq = Total(qq),
          .y = Total(y_sum),
          .yy = Total(yy),
          .qy = Total(qy)};
}

struct Fit {
  double scale = 0;
  double offset = 0;  // of y = scale * q + offset
  double error = std::numeric_limits<double>::infinity();
};

// Least squares; `highest` bounds the offset, so that the minimum is not negative.
Fit FitLine(const LineSums& sums, double highest) {
  const double determinant = sums.w * sums.qq - sums.q * sums.q;
  Fit fit;
  if (determinant > 0) {
    fit.scale = (sums.w * sums.qy - sums.q * sums.y) / determinant;
    fit.offset = (sums.y - fit.scale * sums.q) / sums.w;
  } else if (sums.qq > 0) {  // one q for all
    fit.scale = sums.qy / sums.qq;
  }
  if (fit.offset > highest) {
    fit.offset = highest;
    fit.scale = (sums.qy - highest * sums.q) / sums.qq;
  }
  const double a = fit.scale;
  const double b = fit.offset;
  fit.error = sums.yy - 2 * a * sums.qy - 2 * b * sums.y + a * a * sums.qq + 2 * a * b * sums.q +
              sums.w * b * b;
  return fit;
}

// Tries rounding with slopes around the one that spans the range, and fits a line to each rounding.
// Most of them are steeper, which cuts off the highest values for finer steps below.
Line FindLine(const Weighted& part, float max_q) {
  const auto [least, most] = std::minmax_element(part.values.begin(), part.values.end());
  const float low = std::min(0.0f, *least);
  if (*most - low < kNoMagnitude) return {.scale = 0, .minimum = -low};
  constexpr int kSlopes = 21;
  Fit best;
  for (int i = 0; i < kSlopes; ++i) {
    const float inverse = (max_q - 0.5f + 0.075f * static_cast<float>(i)) / (*most - low);
    const Fit fit = FitLine(SumsOf(part, low, inverse, max_q), -static_cast<double>(low));
    if (fit.error < best.error) best = fit;
  }
  return {.scale = static_cast<float>(best.scale),
          .minimum = std::max(0.0f, static_cast<float>(-low - best.offset))};
}

// The scales of a block as it stores them.
struct Scales {
  float scale = 0;                       // as f16 holds it
  float minimum = 0;                     // as f16 holds it
  std::array<float, kSubBlocks> subs{};  // whole numbers, 0 to 63
  std::array<float, kSubBlocks> minimums{};
  float error = std::numeric_limits<float>::infinity();

  Line LineOf(std::size_t j) const {
    return {.scale = scale * subs[j], .minimum = minimum * minimums[j]};
  }
};

float ErrorAt(const Weighted& part, Line line, float max_q) {
  const float inverse = Inverse(line.scale);
  Lanes sum{};
  for (std::size_t i = 0; i < kSubBlock; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float x = part.values[i + lane] + line.minimum;
      const float difference = line.scale * NearestWithin(inverse * x, 0, max_q) - x;
      sum[lane] += part.weights[i + lane] * difference * difference;
    }
  }
  return Total(sum);
}

// Moves the sub-scale and the sub-minimum of each sub-block to the best of their neighbours.
void ChooseSubScales(const WeightedBlock& block, float max_q, Scales& scales) {
  scales.error = 0;
  for (std::size_t j = 0; j < kSubBlocks; ++j) {
    const float sub = scales.subs[j];
    const float minimum = scales.minimums[j];
    float least = std::numeric_limits<float>::infinity();
    for (const float move : {0.0f, -1.0f, 1.0f}) {
      for (const float minimum_move : {0.0f, -1.0f, 1.0f}) {
        Scales moved = scales;
        moved.subs[j] = std::clamp(sub + move, 0.0f, kMaxSub);
        moved.minimums[j] = std::clamp(minimum + minimum_move, 0.0f, kMaxSub);
        const float error = ErrorAt(block[j], moved.LineOf(j), max_q);
        if (error >= least) continue;
        least = error;
        scales.subs[j] = moved.subs[j];
        scales.minimums[j] = moved.minimums[j];
      }
    }
    scales.error += least;
  }
}

// Weighted least squares of x = scale * u - minimum * v, where u is sub-scale times q and v the
// sub-minimum, for the q that the present scales give.
void Refit(const WeightedBlock& block, float max_q, Scales& scales) {
  double uu = 0, uv = 0, vv = 0, xu = 0, xv = 0;
  for (std::size_t j = 0; j < kSubBlocks; ++j) {
    const Line line = scales.LineOf(j);
    const LineSums sums = SumsOf(block[j], -line.minimum, Inverse(line.scale), max_q);
    const double sub = scales.subs[j];
    const double minimum = scales.minimums[j];
    const double x = sums.y - sums.w * static_cast<double>(line.minimum);
    uu += sub * sub * sums.qq;
    uv += sub * minimum * sums.q;
    vv += minimum * minimum * sums.w;
    xu += sub * (sums.qy - line.minimum * sums.q);
    xv += minimum * x;
  }
  const double determinant = uu * vv - uv * uv;
  if (determinant > 1e-6 * uu * vv) {
    scales.scale = AsFp16(static_cast<float>((xu * vv - xv * uv) / determinant));
    scales.minimum = AsFp16(static_cast<float>((xu * uv - xv * uu) / determinant));
  } else if (uu > 0) {
    scales.scale = AsFp16(static_cast<float>((xu + scales.minimum * uv) / uu));
  }
  scales.scale = std::max(scales.scale, 0.0f);
  scales.minimum = std::max(scales.minimum, 0.0f);
}

// The stored scales from lines, if the largest take the sub-scale `top`.
Scales ScalesOf(const std::array<Line, kSubBlocks>& lines, float top) {
  Line largest;
  for (const Line& line : lines) {
    largest.scale = std::max(largest.scale, line.scale);
    largest.minimum = std::max(largest.minimum, line.minimum);
  }
  Scales scales{.scale = AsFp16(largest.scale / top), .minimum = AsFp16(largest.minimum / top)};
  for (std::size_t j = 0; j < kSubBlocks; ++j) {
    scales.subs[j] = NearestWithin(lines[j].scale * Inverse(scales.scale), 0, kMaxSub);
    scales.minimums[j] = NearestWithin(lines[j].minimum * Inverse(scales.minimum), 0, kMaxSub);
  }
  return scales;
}

// Tries so many sub-scales, from the largest down, for the largest line.
Scales FindScales(const WeightedBlock& block, float max_q, int tops) {
  std::array<Line, kSubBlocks> lines;
  for (std::size_t j = 0; j < kSubBlocks; ++j) lines[j] = FindLine(block[j], max_q);
  Scales best;
  for (int i = 0; i < tops; ++i) {
    Scales next = ScalesOf(lines, kMaxSub - static_cast<float>(i));
    ChooseSubScales(block, max_q, next);
    if (next.error < best.error) best = next;
  }
  constexpr int kRounds = 2;
  for (int round = 0; round < kRounds; ++round) {
    Scales next = best;
    Refit(block, max_q, next);
    ChooseSubScales(block, max_q, next);
    if (!(next.error < best.error)) break;
    best = next;
  }
  return best;
}

// The layouts begin alike: scale, minimum, sub-scales.
void StoreScales(const Scales& scales, std::uint8_t* block) {
  StoreFp16(scales.scale, block + Q4KLayout::kScale);
  StoreFp16(scales.minimum, block + Q4KLayout::kMinimum);
  SubScales sub;
  for (std::size_t j = 0; j < kSubBlocks; ++j) {
    sub.scales[j] = static_cast<std::uint8_t>(scales.subs[j]);
    sub.minimums[j] = static_cast<std::uint8_t>(scales.minimums[j]);
  }
  PackSubScales(sub, block + Q4KLayout::kSubScales);
}

// Calls `store` with the sub-block, the index in it and the q of every value.
template <typename Store>
void ForEachCode(Block values, const Scales& scales, float max_q, Store&& store) {
  for (std::size_t j = 0; j < kSubBlocks; ++j) {
    const Line line = scales.LineOf(j);
    const float inverse = Inverse(line.scale);
    for (std::size_t i = 0; i < kSubBlock; ++i) {
      const float x = values[kSubBlock * j + i] + line.minimum;
      store(j, i, static_cast<unsigned>(NearestWithin(inverse * x, 0, max_q)));
    }
  }
}

void StoreNibble(std::uint8_t* nibbles, std::size_t j, std::size_t i, unsigned q) {
  nibbles[kSubBlock * (j / 2) + i] |= static_cast<std::uint8_t>((q & 15u) << (4 * (j % 2)));
}

}  // namespace

void QuantizeQ4K(Block values, std::uint8_t* block) {
  constexpr float kMaxQ = 15;
  const Scales scales = FindScales(WeightedBlock(values, ErrorWeight::kMagnitude), kMaxQ, 3);
  std::fill_n(block, Q4KLayout::kBytes, std::uint8_t{0});
  StoreScales(scales, block);
  ForEachCode(values, scales, kMaxQ, [block](std::size_t j, std::size_t i, unsigned q) {
    StoreNibble(block + Q4KLayout::kNibbles, j, i, q);
  });
}

void QuantizeQ5K(Block values, std::uint8_t* block) {
  static_assert(Q5KLayout::kSubScales == Q4KLayout::kSubScales);
  constexpr float kMaxQ = 31;
  const Scales scales = FindScales(WeightedBlock(values, ErrorWeight::kEqual), kMaxQ, 1);
  std::fill_n(block, Q5KLayout::kBytes, std::uint8_t{0});
  StoreScales(scales, block);
  ForEachCode(values, scales, kMaxQ, [block](std::size_t j, std::size_t i, unsigned q) {
    StoreNibble(block + Q5KLayout::kNibbles, j, i, q);
    block[Q5KLayout::kHighBits + i] |= static_cast<std::uint8_t>((q >> 4) << j);
  });
}

}  // namespace doppler
