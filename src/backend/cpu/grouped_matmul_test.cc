// Products with matrices in groups of rows: the same bits as with rows one after the other.

#include <tuple>

#include <gtest/gtest.h>

#include "backend/kernel_cases.h"
#include "backend/kernel_products.h"

namespace doppler {
namespace {

constexpr int kMostTokens = 19;  // more than any kernel takes at once

// A block; less than a chunk, several chunks and blocks that are no multiple of anything.
std::vector<int> ColumnsOf(DType dtype) {
  if (Traits(dtype).block_elements == 256) return {256, 768};
  return {32, 96, 256, 736, 1056};
}

using PathAndType = std::tuple<CpuPath, DType>;

class GroupedMatMulTest : public testing::TestWithParam<PathAndType> {
 protected:
  static DType dtype() { return std::get<1>(GetParam()); }

  static std::unique_ptr<Backend> Make(ThreadPool& pool, int cols) {
    auto backend = BackendOf(pool, std::get<0>(GetParam()));
    backend->Reserve({.tokens = kMostTokens, .cols = cols, .kept_cols = cols});
    return backend;
  }

  static void ExpectSameBits(Backend& backend, const WeightMatrix& rows, const OwnedMatrix& groups,
                             Rows in) {
    OwnedRows expected(in.rows, rows.rows, 3);
    OwnedRows out(in.rows, rows.rows, 3);
    backend.MatMul(rows, in, expected.view());
    backend.MatMul(groups.view, in, out.view());
    EXPECT_EQ(out.Bits(), expected.Bits())
        << rows.rows << " rows, " << rows.cols << " columns, " << in.rows << " tokens";
  }
};

TEST_P(GroupedMatMulTest, HasTheBitsOfRowsInOrder) {
  ThreadPool pool(2);
  for (const int cols : ColumnsOf(dtype())) {
    const auto backend = Make(pool, cols);
    OwnedRows in(kMostTokens, cols, GaussianValues(kMostTokens * cols, 7));
    for (const int rows : {16, 48}) {
      const OwnedMatrix matrix = RandomMatrix(dtype(), rows, cols, 5);
      for (const WeightLayout layout : GroupLayouts(dtype())) {
        const OwnedMatrix groups = InGroups(matrix.view, layout);
        for (const int tokens : {1, 2, 3, 5, 8, 16, kMostTokens}) {
          ExpectSameBits(*backend, matrix.view, groups, in.Slice(0, tokens));
        }
      }
    }
  }
}

// Sums of products of the largest numbers fit where they are added.
TEST_P(GroupedMatMulTest, HasTheBitsOfRowsInOrderWhereValuesAreLargest) {
  ThreadPool pool(1);
  const int cols = 512;
  const auto backend = Make(pool, cols);
  OwnedMatrix matrix = RandomMatrix(dtype(), kGroupRows, cols, 5);
  for (const int byte : kExtremeBytes) {
    FillValues(byte, matrix);
    const OwnedMatrix groups = InGroups(matrix.view);
    for (const float value : {-1.0f, 1.0f}) {
      OwnedRows in(kMostTokens, cols,
                   std::vector<float>(static_cast<std::size_t>(kMostTokens * cols), value));
      for (const int tokens : {1, 3, kMostTokens}) {
        ExpectSameBits(*backend, matrix.view, groups, in.Slice(0, tokens));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllPathsAndTypes, GroupedMatMulTest,
                         testing::Combine(testing::ValuesIn(RunnableCpuPaths()),
                                          testing::ValuesIn(GroupedTypes())),
                         [](const auto& test) { return NameInTest(test.param); });

}  // namespace
}  // namespace doppler
