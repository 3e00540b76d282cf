#include "synth/random_weights.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "backend/quantize.h"
#include "base/error.h"

namespace doppler {
namespace {

using Random = std::mt19937_64;

// Whether the projection's result is added to the hidden state.
bool AddsToState(const TensorSpec& spec) {
  return spec.role != TensorRole::kBias &&
         (spec.name.ends_with(".o_proj.weight") || spec.name.ends_with(".down_proj.weight"));
}

// The rows of a matrix keep the length of what they are multiplied with, on average.
double Deviation(const TensorSpec& spec, const WeightStyle& style) {
  if (spec.role == TensorRole::kEmbedding) return 1;
  const double gain = AddsToState(spec) ? style.residual_gain : 1;
  return gain / std::sqrt(static_cast<double>(spec.shape.back()));
}

std::int64_t RowCount(const TensorSpec& spec) {
  std::int64_t rows = 1;
  for (std::size_t i = 0; i + 1 < spec.shape.size(); ++i) rows *= spec.shape[i];
  return rows;
}

void FillGaussian(std::uint64_t seed, double deviation, std::span<float> out) {
  Random random(seed);
  std::normal_distribution<float> normal(0, static_cast<float>(deviation));
  for (float& value : out) value = normal(random);
}

std::vector<std::byte> Encode(DType dtype, std::span<const float> values) {
  std::vector<std::byte> bytes(*RowBytes(dtype, values.size()));
  Quantize(dtype, values, bytes);
  return bytes;
}

}  // namespace

const RandomWeights::Pool& RandomWeights::PoolOf(DType dtype, std::int64_t cols, double deviation) {
  const auto [found, is_new] = pools_.try_emplace({dtype, cols, deviation});
  Pool& pool = found->second;
  if (!is_new) return pool;
  pool.row_bytes = *RowBytes(dtype, static_cast<std::uint64_t>(cols));
  const std::size_t count = std::max<std::size_t>(style_.pool_bytes / pool.row_bytes, 2);
  pool.rows.resize(count * pool.row_bytes);
  threads_.ParallelFor(count, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> values(static_cast<std::size_t>(cols));
    for (std::size_t row = begin; row < end; ++row) {
      FillGaussian(style_.seed + row, deviation, values);
      Quantize(dtype, values, std::span(pool.rows).subspan(row * pool.row_bytes, pool.row_bytes));
    }
  });
  return pool;
}

void RandomWeights::Stream(const TensorSpec& spec, DType dtype, std::uint64_t number,
                           FunctionRef<void(std::span<const std::byte>)> use) {
  if (spec.role == TensorRole::kNorm) {
    use(Encode(dtype, std::vector<float>(static_cast<std::size_t>(spec.shape.back()), 1.0F)));
    return;
  }
  if (spec.role == TensorRole::kRouter) {
    StreamRouter(spec, dtype, number, use);
    return;
  }
  const Pool& pool = PoolOf(dtype, spec.shape.back(), Deviation(spec, style_));
  Bytes left = static_cast<Bytes>(RowCount(spec)) * pool.row_bytes;
  const std::size_t rows = pool.rows.size() / pool.row_bytes;
  Bytes from = Random(style_.seed ^ (number << 20))() % rows * pool.row_bytes;
  while (left > 0) {
    const Bytes size = std::min(left, pool.rows.size() - from);
    use(std::span(pool.rows).subspan(from, size));
    left -= size;
    from = 0;
  }
}

void RandomWeights::StreamRouter(const TensorSpec& spec, DType dtype, std::uint64_t number,
                                 FunctionRef<void(std::span<const std::byte>)> use) const {
  Random random(style_.seed ^ (number << 20));
  std::normal_distribution<double> log_length(0, style_.routing_skew);
  std::vector<float> row(static_cast<std::size_t>(spec.shape.back()));
  for (std::int64_t expert = 0; expert < RowCount(spec); ++expert) {
    const double length = style_.routing_skew > 0 ? std::exp(log_length(random)) : 1;
    FillGaussian(random(), length * Deviation(spec, style_), row);
    use(Encode(dtype, row));
  }
}

}  // namespace doppler
