// Matrix products of every path and type against the reference backend.

#include <algorithm>
#include <tuple>

#include <gtest/gtest.h>

#include "backend/cpu/kernels.h"
#include "backend/kernel_products.h"
#include "backend/quantize.h"
#include "base/alloc_guard.h"
#include "base/float8.h"

namespace doppler {
namespace {

using Parameters = std::tuple<CpuPath, DType>;

class MatMulTest : public testing::TestWithParam<Parameters> {
 protected:
  static constexpr int kTokens = 16;

  static CpuPath path() { return std::get<0>(GetParam()); }
  static DType dtype() { return std::get<1>(GetParam()); }

  static int LongestRow() { return OddColumns(dtype()).back(); }

  static std::unique_ptr<Backend> Make(ThreadPool& pool, int cols) {
    auto backend = BackendOf(pool, path());
    backend->Reserve({.tokens = kTokens, .cols = cols, .kept_cols = cols});
    return backend;
  }
};

// Per output: the sums over a row of |weight * x| and |weight|, which errors are measured by.
struct Sizes {
  double products = 0;
  double weights = 0;
};
Sizes SizesOf(const WeightMatrix& matrix, int row, const float* x) {
  const auto cols = static_cast<std::size_t>(matrix.cols);
  std::vector<float> weights(cols);
  DequantizeColumns(matrix, static_cast<std::size_t>(row), 0, weights);
  Sizes out;
  for (std::size_t c = 0; c < cols; ++c) {
    out.products += std::abs(static_cast<double>(weights[c]) * x[c]);
    out.weights += std::abs(weights[c]);
  }
  return out;
}

TEST_P(MatMulTest, RoundingActivationsCostsAtMostHalfAStepEach) {
  ThreadPool pool(1);
  const auto reference = MakeReferenceBackend(pool);
  const int cols = LongestRow();
  const int rows = 17;
  const auto backend = Make(pool, cols);
  const auto matrix = RandomMatrix(dtype(), rows, cols, 3);
  OwnedRows in(3, cols, GaussianValues(3 * cols, 4));
  OwnedRows out(3, rows);
  OwnedRows expected(3, rows);
  backend->MatMul(matrix.view, in.view(), out.view());
  reference->MatMul(matrix.view, in.view(), expected.view());
  for (int t = 0; t < 3; ++t) {
    float largest = 0;
    for (int c = 0; c < cols; ++c) largest = std::max(largest, std::abs(in.view().Row(t)[c]));
    const bool reads_floats = IsFloat(dtype()) || HasScaleGrid(dtype());
    // 16 bits of an activation for mxfp4, a step of which may be lost at either end.
    const double steps = dtype() == DType::kMxfp4 ? 1.0 / 256 : 0.5;
    const double rounding = reads_floats ? 0 : steps * largest / 127;
    for (int r = 0; r < rows; ++r) {
      const Sizes sizes = SizesOf(matrix.view, r, in.view().Row(t));
      ASSERT_NEAR(out.view().Row(t)[r], expected.view().Row(t)[r],
                  rounding * sizes.weights +
                      (1e-5 + 2 * RoundingOfWeights(path(), dtype())) * sizes.products);
    }
  }
}

TEST_P(MatMulTest, OneTokenHasTheSameBitsInAnyCompanyAndOnAnyThreads) {
  const int cols = LongestRow();
  const int rows = 67;
  const auto matrix = RandomMatrix(dtype(), rows, cols, 5);
  OwnedRows in(kTokens, cols, GaussianValues(kTokens * cols, 6));
  OwnedRows alone(kTokens, rows);
  ThreadPool one(1);
  const auto single = Make(one, cols);
  for (int t = 0; t < kTokens; ++t) single->MatMul(matrix.view, in.Slice(t, 1), alone.Slice(t, 1));
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    const auto backend = Make(pool, cols);
    for (const int batch : {1, 2, 3, 5, 7, kTokens}) {
      OwnedRows out(kTokens, rows);
      for (int t = 0; t < kTokens; t += batch) {
        const int count = std::min(batch, kTokens - t);
        backend->MatMul(matrix.view, in.Slice(t, count), out.Slice(t, count));
      }
      EXPECT_EQ(out.Bits(), alone.Bits()) << threads << " threads, " << batch << " tokens";
    }
  }
}

// As many tokens as a kernel takes at once, and so many that they are cut into parts.
TEST_P(MatMulTest, ManyTokensHaveTheBitsOfFew) {
  const int cols = LongestRow();
  const int rows = 33;
  const auto matrix = RandomMatrix(dtype(), rows, cols, 5);
  ThreadPool pool(1);
  for (const int tokens : {MatMulTile::kMaxTokens, MatMulTile::kMaxTokens + 1}) {
    const auto backend = BackendOf(pool, path());
    backend->Reserve({.tokens = tokens, .cols = cols, .kept_cols = cols});
    OwnedRows in(tokens, cols, GaussianValues(tokens * cols, 6));
    OwnedRows few(tokens, rows);
    OwnedRows many(tokens, rows);
    for (int t = 0; t < tokens; t += kTokens) {
      const int count = std::min(kTokens, tokens - t);
      backend->MatMul(matrix.view, in.Slice(t, count), few.Slice(t, count));
    }
    backend->MatMul(matrix.view, in.view(), many.view());
    EXPECT_EQ(many.Bits(), few.Bits()) << tokens << " tokens";
  }
}

// Sums of products of the largest numbers fit where many tokens add them up.
TEST_P(MatMulTest, OneTokenHasTheSameBitsInCompanyWhereValuesAreLargest) {
  if (IsFloat(dtype()) || HasScaleGrid(dtype())) return;
  constexpr int kRows = 16;
  constexpr int kCompany = 9;
  const int cols = 512;
  ThreadPool pool(1);
  const auto backend = Make(pool, cols);
  OwnedMatrix matrix = RandomMatrix(dtype(), kRows, cols, 5);
  for (const int byte : kExtremeBytes) {
    FillValues(byte, matrix);
    for (const float value : {-1.0f, 1.0f}) {
      OwnedRows in(kCompany, cols,
                   std::vector<float>(static_cast<std::size_t>(kCompany * cols), value));
      OwnedRows out(kCompany, kRows);
      OwnedRows alone(kCompany, kRows);
      backend->MatMul(matrix.view, in.view(), out.view());
      for (int t = 0; t < kCompany; ++t) {
        backend->MatMul(matrix.view, in.Slice(t, 1), alone.Slice(t, 1));
      }
      EXPECT_EQ(out.Bits(), alone.Bits()) << "byte " << byte << ", value " << value;
    }
  }
}

// Row i of `found` has the bits of row rows[i] of `expected`.
void ExpectSameRows(ConstRows found, OwnedRows expected, const std::vector<int>& rows) {
  ASSERT_EQ(found.rows, static_cast<int>(rows.size()));
  for (int i = 0; i < found.rows; ++i) {
    const float* row = expected.view().Row(rows[static_cast<std::size_t>(i)]);
    for (int c = 0; c < found.cols; ++c) ASSERT_EQ(found.Row(i)[c], row[c]) << i << ' ' << c;
  }
}

// The values of one unit, one kernel after the other.
OwnedRows StepByStep(Backend& backend, const GatedProduct& unit, const Gating& gating,
                     ConstRows in) {
  OwnedRows gate(in.rows, unit.gate->rows);
  OwnedRows up(in.rows, unit.gate->rows);
  backend.MatMul(*unit.gate, in, gate.view());
  backend.MatMul(*unit.up, in, up.view());
  if (!unit.gate_bias.empty()) backend.AddBias(unit.gate_bias, gate.view());
  if (!unit.up_bias.empty()) backend.AddBias(unit.up_bias, up.view());
  if (gating.clamped) {
    backend.ClampedSwiGlu(gate.view(), up.view(), gating.alpha, gating.limit, gate.view());
  } else {
    backend.SwiGlu(gate.view(), up.view(), gate.view());
  }
  return gate;
}

TEST_P(MatMulTest, GatedUnitsHaveTheBitsOfTheirSteps) {
  constexpr int kRows = 35;
  const int cols = LongestRow();
  OwnedRows in(kTokens, cols, GaussianValues(kTokens * cols, 11), 3);
  // Read the activations in another way, unless that needs other columns.
  const DType other = cols % 32 == 0 ? DType::kMxfp4 : DType::kF32;
  const std::vector<std::vector<int>> choices = {
      {0}, {15, 3}, {7, 7, 0, 1, 2, 14, 9}, FirstRows(kTokens)};
  const std::vector<int> all = FirstRows(kTokens);
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    const auto backend = Make(pool, cols);
    const Gating gating = {.clamped = threads == 3, .alpha = 1.7f, .limit = 2};
    const GatedUnits of_all(dtype(), other, kRows, cols, all);
    backend->MatMulGated(of_all.units, gating, in.view());
    std::vector<OwnedRows> expected;
    for (const GatedProduct& unit : of_all.units) {
      expected.push_back(StepByStep(*backend, unit, gating, in.view()));
      ExpectSameRows(unit.out, expected.back(), all);
    }
    backend->Keep(in.view());
    for (const std::vector<int>& chosen : choices) {
      const GatedUnits of_kept(dtype(), other, kRows, cols, chosen);
      backend->MatMulGatedOfKept(of_kept.units, gating);
      for (std::size_t u = 0; u < GatedUnits::kUnits; ++u) {
        ExpectSameRows(of_kept.units[u].out, expected[u], chosen);
      }
    }
  }
}

// More than one loop takes, of two inputs.
TEST_P(MatMulTest, ManyProductsHaveTheBitsOfEach) {
  const int cols = LongestRow();
  const int rows = 19;
  ThreadPool pool(2);
  const auto backend = Make(pool, cols);
  const auto even = RandomMatrix(dtype(), rows, cols, 9);
  const auto odd = RandomMatrix(dtype(), rows, cols, 10);
  OwnedRows in(kTokens, cols, GaussianValues(kTokens * cols, 11), 3);
  constexpr int kProducts = 70;
  OwnedRows out(kProducts, rows);
  std::vector<Product> products;
  for (int i = 0; i < kProducts; ++i) {
    products.push_back({.weights = i % 2 == 0 ? &even.view : &odd.view,
                        .in = {in.view().Row(i % kTokens), 1, cols, cols},
                        .out = {out.view().Row(i), 1, rows, rows}});
  }
  backend->MatMulAll(products);
  for (const Product& product : products) {
    OwnedRows expected(1, rows);
    backend->MatMul(*product.weights, product.in, expected.view());
    ExpectSameRows(product.out, expected, {0});
  }
}

TEST_P(MatMulTest, ZeroAndTinyActivationsGiveZero) {
  ThreadPool pool(1);
  const int cols = LongestRow();
  const auto backend = Make(pool, cols);
  const auto matrix = RandomMatrix(dtype(), 5, cols, 7);
  for (const float value : {0.0f, 1e-42f}) {
    OwnedRows in(1, cols, std::vector<float>(static_cast<std::size_t>(cols), value));
    OwnedRows out(1, 5);
    backend->MatMul(matrix.view, in.view(), out.view());
    for (int r = 0; r < 5; ++r) ASSERT_NEAR(out.view().data[r], 0, 1e-35);
  }
}

TEST_P(MatMulTest, DoesNotAllocate) {
  ThreadPool pool(2);
  const int cols = LongestRow();
  const auto backend = Make(pool, cols);
  const auto matrix = RandomMatrix(dtype(), 64, cols, 8);
  OwnedRows in(kTokens, cols);
  OwnedRows out(kTokens, 64);
  out.view().data[0] = 1;
  {
    NoAllocScope scope;
    backend->MatMul(matrix.view, in.view(), out.view());
  }
  EXPECT_EQ(out.view().data[0], 0);
}

INSTANTIATE_TEST_SUITE_P(Paths, MatMulTest,
                         testing::Combine(testing::ValuesIn(RunnableCpuPaths()),
                                          testing::ValuesIn(EveryType())),
                         [](const auto& test) { return NameInTest(test.param); });

TEST(F8E4M3, EveryByteHasItsValueOnEveryPath) {
  constexpr int kCols = 16;
  OwnedMatrix matrix;
  for (unsigned bits = 0; bits < 256; ++bits) {
    matrix.bytes.insert(matrix.bytes.end(), kCols, static_cast<std::byte>(bits));
  }
  const float scales[2] = {1, 0.5f};  // of rows 0 to 127 and 128 to 255
  const auto grid = std::as_bytes(std::span(scales));
  matrix.bytes.insert(matrix.bytes.end(), grid.begin(), grid.end());
  matrix.view = {.data = matrix.bytes.data(), .dtype = DType::kF8E4M3, .rows = 256, .cols = kCols};
  ThreadPool pool(1);
  for (const CpuPath path : RunnableCpuPaths()) {
    const auto backend = MakeCpuBackend(pool, path);
    OwnedRows in(1, kCols);
    in.view().data[3] = 1;
    OwnedRows out(1, 256);
    backend->MatMul(matrix.view, in.view(), out.view());
    for (unsigned bits = 0; bits < 256; ++bits) {
      const float expected = E4M3ToFloat(static_cast<std::uint8_t>(bits)) * scales[bits / 128];
      const float found = out.view().data[bits];
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(found)) << CpuPathName(path) << ' ' << bits;
      } else {
        EXPECT_EQ(found, expected) << CpuPathName(path) << ' ' << bits;
      }
    }
  }
}

TEST(CpuPaths, TheDetectedPathIsTheBestOfTheRunnable) {
  EXPECT_TRUE(CanRun(CpuPath::kPortable));
  EXPECT_EQ(DetectCpuPath(), RunnableCpuPaths().back());
  ThreadPool pool(1);
  for (const CpuPath path : RunnableCpuPaths()) {
    EXPECT_EQ(MakeCpuBackend(pool, path)->path(), CpuPathName(path));
    EXPECT_EQ(KernelsOf(path).name, CpuPathName(path));
  }
}

}  // namespace
}  // namespace doppler
