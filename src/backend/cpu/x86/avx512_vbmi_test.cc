// Products that look up bytes have the bits of those that look up words, or mask nibbles, which run
// where there is no AVX-512 VBMI.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/x86/vnni_tokens.h"
#include "backend/kernel_cases.h"

namespace doppler {
namespace {

std::vector<DType> TypesLookedUpByBytes() {
  if (!CanRun(CpuPath::kAvx512Vnni)) return {};
  return {DType::kIQ2_XXS, DType::kIQ2_XS, DType::kIQ3_XXS,
          DType::kIQ3_S,   DType::kMxfp4,  DType::kIQ4_NL};
}

// In groups of rows if the type has such.
OwnedMatrix MatrixOf(DType type, int cols) {
  OwnedMatrix rows = RandomMatrix(type, 2 * kGroupRows, cols, 5);
  if (!CanGroupRows(type, kGroupRows)) return rows;
  return InGroups(rows.view);
}

class Avx512VbmiTest : public testing::TestWithParam<DType> {};

TEST_P(Avx512VbmiTest, HasTheBitsOfPathsWithoutIt) {
  const MatMulKernel without = ProductOf(kAvx512VnniKernels, GetParam());
  const MatMulKernel bytes = ProductOf(KernelsOf(CpuPath::kAvx512Vnni), GetParam());
  for (const int cols : {256, 768, 800}) {
    if (!RowBytes(GetParam(), static_cast<std::uint64_t>(cols))) continue;
    const OwnedMatrix weights = MatrixOf(GetParam(), cols);
    for (const int tokens : {1, 2, 3, 4}) {
      const VnniTokens x(GetParam(), tokens, cols);
      OwnedRows expected = RunKernel(without, weights.view, x.rows(), tokens);
      OwnedRows found = RunKernel(bytes, weights.view, x.rows(), tokens);
      EXPECT_EQ(found.Bits(), expected.Bits()) << cols << " columns, " << tokens << " tokens";
    }
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Avx512VbmiTest);

INSTANTIATE_TEST_SUITE_P(Types, Avx512VbmiTest, testing::ValuesIn(TypesLookedUpByBytes()),
                         [](const auto& test) { return std::string(DTypeName(test.param)); });

}  // namespace
}  // namespace doppler
