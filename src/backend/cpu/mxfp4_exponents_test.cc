// Products of mxfp4 whose runs have the same exponent throughout, or exponents further apart than
// paths add up as whole numbers.

#include <vector>

#include <gtest/gtest.h>

#include "backend/kernel_products.h"

namespace doppler {
namespace {

constexpr int kExponentRows = 2 * kGroupRows;
constexpr int kExponentCols = 800;
constexpr int kExponentTokens = 20;

class Mxfp4ExponentsTest : public testing::TestWithParam<CpuPath> {
 protected:
  // Block i has exponents[i % size].
  static OwnedMatrix MatrixWith(const std::vector<int>& exponents) {
    OwnedMatrix matrix = RandomMatrix(DType::kMxfp4, kExponentRows, kExponentCols, 5);
    const auto block = static_cast<std::size_t>(Traits(DType::kMxfp4).block_bytes);
    for (std::size_t i = 0; i * block < matrix.bytes.size(); ++i) {
      matrix.bytes[i * block] = static_cast<std::byte>(exponents[i % exponents.size()]);
    }
    return matrix;
  }

  // In order and as groups, with few tokens and with many.
  static void ExpectTheReference(const OwnedMatrix& matrix, OwnedRows& in) {
    ThreadPool pool(2);
    const auto backend = BackendOf(pool, GetParam());
    backend->Reserve(
        {.tokens = kExponentTokens, .cols = kExponentCols, .kept_cols = kExponentCols});
    OwnedRows expected(kExponentTokens, kExponentRows);
    MakeReferenceBackend(pool)->MatMul(matrix.view, in.view(), expected.view());
    const OwnedMatrix groups = InGroups(matrix.view);
    for (const int tokens : {1, 3, kExponentTokens}) {
      OwnedRows of_rows(tokens, kExponentRows);
      OwnedRows of_groups(tokens, kExponentRows);
      backend->MatMul(matrix.view, in.Slice(0, tokens), of_rows.view());
      backend->MatMul(groups.view, in.Slice(0, tokens), of_groups.view());
      EXPECT_EQ(of_groups.Bits(), of_rows.Bits()) << tokens << " tokens";
      for (int t = 0; t < tokens; ++t) {
        for (int r = 0; r < kExponentRows; ++r) {
          EXPECT_NEAR(of_rows.view().Row(t)[r], expected.view().Row(t)[r],
                      1e-5 * SizeOfProducts(matrix.view, r, in.view().Row(t)))
              << "token " << t << " of " << tokens << ", row " << r;
        }
      }
    }
  }
};

TEST_P(Mxfp4ExponentsTest, ExponentsMayBeFarApart) {
  OwnedRows in(kExponentTokens, kExponentCols,
               ExactActivations(kExponentTokens * kExponentCols, 2));
  // Seven, so that every run of a row meets all of them.
  ExpectTheReference(MatrixWith({120, 124, 123, 0, 119, 1, 121}), in);
  ExpectTheReference(MatrixWith({0, 1, 2, 3, 4, 5, 6}), in);
  ExpectTheReference(MatrixWith({10, 200, 60, 197, 196, 199, 0}), in);
}

TEST_P(Mxfp4ExponentsTest, TheLargestSumsFit) {
  OwnedMatrix matrix = MatrixWith({120});
  for (const int byte : {0x77, 0xff, 0x7f}) {
    FillValues(byte, matrix);
    for (const float value : {-1.0f, 1.0f}) {
      OwnedRows in(kExponentTokens, kExponentCols,
                   std::vector<float>(std::size_t{kExponentTokens} * kExponentCols, value));
      ExpectTheReference(matrix, in);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllPaths, Mxfp4ExponentsTest, testing::ValuesIn(RunnableCpuPaths()),
                         [](const auto& test) { return NameInTest(test.param); });

}  // namespace
}  // namespace doppler
