// What an entry of the list of kernels (kernel_list.h) is made of: the shapes that a kernel is
// called with, and a call with all that it reads and writes.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/kernel_cases.h"
#include "backend/quantize.h"

namespace doppler {

// What a kernel is called with. Each reads the fields that it has a use for.
struct KernelShape {
  int tokens = 1;
  int rows = 1;  // of a matrix; 0: as many as take 128 MiB
  int cols = 1;  // of a matrix, or of rows of values
  // Of attention, and of products with a matrix for each head.
  int heads = 1;
  int kv_heads = 1;
  int key_dim = 1;
  int value_dim = 1;
  int block_tokens = 1;
  int context = 1;  // positions in the KV
  bool shares_keys = false;
  int window = 0;
  bool sinks = false;
  int offset = 0;  // of the rotated part in a head, or of a head's first row in its stride
  int stride = 0;  // rows from one head's matrix to the next one's
  bool interleaved = false;
};

// One call.
struct KernelWork {
  KernelLimits limits;
  std::function<void(Backend&)> run;
  // What `run` wrote.
  std::function<std::vector<float>()> results;
  // By how much result `index`, which the reference says is `expected`, may be off.
  std::function<double(std::size_t index, float expected)> bound;
  // Where there are products of weights: how much result `index` may be off if each product is off
  // by all of its size.
  std::function<double(std::size_t index)> size;
  double operations = 0;  // two per product; 0 if products are not what it does
  Bytes bytes = 0;        // of weights or KV that it reads
};

struct KernelSpec {
  std::string name;
  std::vector<DType> types;  // of weights or KV; one that is not read if the kernel has neither
  std::vector<KernelShape> (*odd)(DType type);
  std::vector<KernelShape> timed;
  KernelWork (*make)(DType type, const KernelShape& shape);
};

inline std::vector<float> FlatValues(Rows rows) {
  std::vector<float> out;
  for (int r = 0; r < rows.rows; ++r) {
    out.insert(out.end(), rows.Row(r), rows.Row(r) + rows.cols);
  }
  return out;
}

inline OwnedRows RandomRows(int rows, int cols, unsigned seed, float deviation = 1) {
  return {rows, cols, GaussianValues(rows * cols, seed, deviation), 3};
}

// Whole multiples of 2^-5 with the largest size 127 in each run of 32: int8 holds them exactly.
inline std::vector<float> ExactActivations(int count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> whole(-127, 127);
  std::vector<float> out(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int value = i % 32 == 5 ? 127 : whole(random);
    out[i] = static_cast<float>(value) / 32;
  }
  return out;
}

// A matrix of random blocks. They are slow to make: the rows of a large one repeat, without the odd
// ones that random matrices begin with.
inline OwnedMatrix MatrixOf(DType type, int rows, int cols) {
  constexpr int kPatternRows = 16;
  if (rows <= 4 * kPatternRows) return RandomMatrix(type, rows, cols, 1);
  OwnedMatrix out = RandomMatrix(type, 2 * kPatternRows, cols, 1);
  const std::size_t rows_bytes = kPatternRows * *RowBytes(type, static_cast<unsigned>(cols));
  const std::array<std::int64_t, 2> shape = {rows, cols};
  const auto both = out.bytes;
  const std::byte* pattern = both.data() + rows_bytes;
  out.bytes.resize(*TensorBytes(type, shape));
  for (std::size_t at = 0; at < out.bytes.size(); at += rows_bytes) {
    std::memcpy(out.bytes.data() + at, pattern, std::min(rows_bytes, out.bytes.size() - at));
  }
  // The first scales of the pattern's grid stand for all, as they would not behind other rows.
  if (HasScaleGrid(type)) {
    const std::size_t grid = GridOffset(static_cast<Bytes>(rows) * static_cast<Bytes>(cols));
    for (std::size_t at = grid; at < out.bytes.size(); at += sizeof(float)) {
      std::memcpy(out.bytes.data() + at, both.data() + GridOffset(2 * rows_bytes), sizeof(float));
    }
  }
  out.view.data = out.bytes.data();
  out.view.rows = rows;
  return out;
}

// The sum over a row of |weight * x|, which errors are measured by.
inline double SizeOfProducts(const WeightMatrix& matrix, int row, const float* x) {
  std::vector<float> weights(static_cast<std::size_t>(matrix.cols));
  DequantizeColumns(matrix, static_cast<std::size_t>(row), 0, weights);
  double sum = 0;
  for (std::size_t c = 0; c < weights.size(); ++c) {
    sum += std::abs(static_cast<double>(weights[c]) * x[c]);
  }
  return sum;
}

// `relative` of each value, or of `floor` if the value is smaller.
inline auto NearBound(double relative, double floor = 1e-3) {
  return [relative, floor](std::size_t, float expected) {
    return relative * std::max<double>(std::abs(expected), floor);
  };
}

}  // namespace doppler
