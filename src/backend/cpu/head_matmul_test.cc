// Products with a matrix for each head.

#include <tuple>

#include <gtest/gtest.h>

#include "backend/kernel_cases.h"
#include "backend/quantize.h"
#include "base/alloc_guard.h"

namespace doppler {
namespace {

struct HeadCase {
  int heads;
  int stride;  // rows from one head's matrix to the next one's
  int first;
  int rows;
  int cols;
  int tokens;
};

// The key and value parts of a latent projection among them.
constexpr HeadCase kHeadCases[] = {{4, 13, 0, 6, 256, 1},
                                   {4, 39, 6, 7, 256, 3},
                                   {2, 3, 0, 3, 512, 2},
                                   {1, 1, 0, 1, 256, 2},
                                   {3, 9, 2, 5, 256, 33}};

constexpr int kHeadGap = 3;  // floats between the heads of a row

class HeadMatMulTest : public testing::TestWithParam<std::tuple<CpuPath, DType>> {
 protected:
  CpuPath path() const { return std::get<0>(GetParam()); }
  DType dtype() const { return std::get<1>(GetParam()); }
  static KernelLimits Limits(const HeadCase& shape) {
    return {.tokens = shape.tokens, .cols = shape.heads * shape.cols};
  }
  OwnedMatrix Weights(const HeadCase& shape) const {
    return RandomMatrix(dtype(), (shape.heads - 1) * shape.stride + shape.first + shape.rows,
                        shape.cols, 5);
  }
  static HeadMatrices Heads(const HeadCase& shape, const OwnedMatrix& weights) {
    return {.all = weights.view,
            .heads = shape.heads,
            .stride = shape.stride,
            .first = shape.first,
            .rows = shape.rows};
  }
};

OwnedRows HeadInputs(const HeadCase& shape, int dim) {
  const int cols = shape.heads * (dim + kHeadGap);
  return {shape.tokens, cols, GaussianValues(shape.tokens * cols, 6)};
}

void MultiplyHeads(Backend& backend, const HeadMatrices& weights, bool transposed, ConstRows in,
                   Rows out) {
  const int in_step = in.cols / weights.heads;
  const int out_step = out.cols / weights.heads;
  if (transposed) {
    backend.MatMulHeadsTransposed(weights, in, in_step, out, out_step);
  } else {
    backend.MatMulHeads(weights, in, in_step, out, out_step);
  }
}

TEST_P(HeadMatMulTest, EachHeadGetsItsRowsOfTheWholeProduct) {
  for (const HeadCase& shape : kHeadCases) {
    const OwnedMatrix weights = Weights(shape);
    ThreadPool pool(2);
    for (const auto& backend : {MakeReferenceBackend(pool), MakeCpuBackend(pool, path())}) {
      backend->Reserve(Limits(shape));
      OwnedRows in = HeadInputs(shape, shape.cols);
      OwnedRows out(shape.tokens, shape.heads * (shape.rows + kHeadGap));
      {
        NoAllocScope scope;
        MultiplyHeads(*backend, Heads(shape, weights), false, in.view(), out.view());
      }
      for (int head = 0; head < shape.heads; ++head) {
        const int first = head * shape.stride + shape.first;
        OwnedRows all(shape.tokens, weights.view.rows);
        backend->MatMul(weights.view,
                        Columns(in.view(), head * (shape.cols + kHeadGap), shape.cols), all.view());
        for (int t = 0; t < shape.tokens; ++t) {
          for (int r = 0; r < shape.rows; ++r) {
            ASSERT_EQ(out.view().Row(t)[head * (shape.rows + kHeadGap) + r],
                      all.view().Row(t)[first + r])
                << backend->name() << " head " << head << " token " << t << " row " << r;
          }
        }
      }
    }
  }
}

// What each head's transposed matrix gives, summed in double precision.
std::vector<double> TransposedHead(const HeadMatrices& weights, ConstRows in, int token, int head) {
  const int cols = weights.all.cols;
  std::vector<float> row(static_cast<std::size_t>(cols));
  std::vector<double> sums(row.size());
  for (int r = 0; r < weights.rows; ++r) {
    const auto index = static_cast<std::size_t>(head * weights.stride + weights.first + r);
    DequantizeColumns(weights.all, index, 0, row);
    const double x = in.Row(token)[head * (in.cols / weights.heads) + r];
    for (std::size_t c = 0; c < row.size(); ++c) sums[c] += x * double{row[c]};
  }
  return sums;
}

TEST_P(HeadMatMulTest, TransposedProductsAreThoseOfTheTransposedMatrices) {
  for (const HeadCase& shape : kHeadCases) {
    const OwnedMatrix weights = Weights(shape);
    const HeadMatrices heads = Heads(shape, weights);
    ThreadPool pool(2);
    for (const auto& backend : {MakeReferenceBackend(pool), MakeCpuBackend(pool, path())}) {
      backend->Reserve(Limits(shape));
      OwnedRows in = HeadInputs(shape, shape.rows);
      OwnedRows out(shape.tokens, shape.heads * (shape.cols + kHeadGap));
      {
        NoAllocScope scope;
        MultiplyHeads(*backend, heads, true, in.view(), out.view());
      }
      for (int t = 0; t < shape.tokens; ++t) {
        for (int head = 0; head < shape.heads; ++head) {
          const std::vector<double> expected = TransposedHead(heads, in.view(), t, head);
          for (int c = 0; c < shape.cols; ++c) {
            const double value = expected[static_cast<std::size_t>(c)];
            ASSERT_NEAR(out.view().Row(t)[head * (shape.cols + kHeadGap) + c], value,
                        2e-5 * (1 + std::abs(value)))
                << backend->name() << " head " << head << " token " << t << " column " << c;
          }
        }
      }
    }
  }
}

TEST_P(HeadMatMulTest, ATokenAloneGetsTheSameBits) {
  const HeadCase& shape = kHeadCases[4];
  const OwnedMatrix weights = Weights(shape);
  for (const bool transposed : {false, true}) {
    const int out_dim = transposed ? shape.cols : shape.rows;
    OwnedRows in = HeadInputs(shape, transposed ? shape.rows : shape.cols);
    OwnedRows alone(shape.tokens, shape.heads * out_dim);
    ThreadPool one(1);
    const auto single = MakeCpuBackend(one, path());
    single->Reserve(Limits(shape));
    for (int t = 0; t < shape.tokens; ++t) {
      MultiplyHeads(*single, Heads(shape, weights), transposed, in.Slice(t, 1), alone.Slice(t, 1));
    }
    ThreadPool three(3);
    const auto backend = MakeCpuBackend(three, path());
    backend->Reserve(Limits(shape));
    OwnedRows together(shape.tokens, shape.heads * out_dim);
    MultiplyHeads(*backend, Heads(shape, weights), transposed, in.view(), together.view());
    EXPECT_EQ(together.Bits(), alone.Bits());
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, HeadMatMulTest,
                         testing::Combine(testing::ValuesIn(RunnableCpuPaths()),
                                          testing::Values(DType::kF32, DType::kBf16, DType::kQ8_0,
                                                          DType::kQ4_K, DType::kF8E4M3)),
                         [](const auto& test) { return NameInTest(test.param); });

}  // namespace
}  // namespace doppler
