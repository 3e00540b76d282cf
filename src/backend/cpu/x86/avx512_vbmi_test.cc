// Products that look up bytes have the bits of those that look up words, or mask nibbles, which run
// where there is no AVX-512 VBMI.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/x86/vnni_tokens.h"
#include "backend/kernel_cases.h"

namespace doppler {
namespace {

std::vector<DType> TypesOfPointsOfFour() {
  if (!CanRun(CpuPath::kAvx512Vnni)) return {};
  return {DType::kIQ3_XXS, DType::kIQ3_S};
}

std::vector<DType> TypesOfLevels() {
  if (!CanRun(CpuPath::kAvx512Vnni)) return {};
  return {DType::kMxfp4, DType::kIQ4_NL};
}

class Avx512VbmiTest : public testing::TestWithParam<DType> {};

TEST_P(Avx512VbmiTest, HasTheBitsOfWords) {
  const MatMulKernel words = ProductOf(kAvx512VnniKernels, GetParam());
  const MatMulKernel bytes = ProductOf(KernelsOf(CpuPath::kAvx512Vnni), GetParam());
  for (const int cols : {256, 768}) {
    const OwnedMatrix rows = RandomMatrix(GetParam(), 19, cols, 5);
    for (const int tokens : {1, 2, 3, 4}) {
      const VnniTokens x(GetParam(), tokens, cols);
      OwnedRows expected = RunKernel(words, rows.view, x.rows(), tokens);
      OwnedRows found = RunKernel(bytes, rows.view, x.rows(), tokens);
      EXPECT_EQ(found.Bits(), expected.Bits()) << cols << " columns, " << tokens << " tokens";
    }
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Avx512VbmiTest);

class Avx512VbmiLevelsTest : public testing::TestWithParam<DType> {};

TEST_P(Avx512VbmiLevelsTest, HaveTheBitsOfMaskedNibbles) {
  const MatMulKernel masked = ProductOf(kAvx512VnniKernels, GetParam());
  const MatMulKernel bytes = ProductOf(KernelsOf(CpuPath::kAvx512Vnni), GetParam());
  for (const int cols : {32, 256, 800}) {
    const OwnedMatrix groups = InGroups(RandomMatrix(GetParam(), 2 * kGroupRows, cols, 5).view);
    for (const int tokens : {1, 2, 3, 4}) {
      const VnniTokens x(GetParam(), tokens, cols);
      OwnedRows expected = RunKernel(masked, groups.view, x.rows(), tokens);
      OwnedRows found = RunKernel(bytes, groups.view, x.rows(), tokens);
      EXPECT_EQ(found.Bits(), expected.Bits()) << cols << " columns, " << tokens << " tokens";
    }
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Avx512VbmiLevelsTest);

INSTANTIATE_TEST_SUITE_P(Types, Avx512VbmiLevelsTest, testing::ValuesIn(TypesOfLevels()),
                         [](const auto& test) { return std::string(DTypeName(test.param)); });

INSTANTIATE_TEST_SUITE_P(Types, Avx512VbmiTest, testing::ValuesIn(TypesOfPointsOfFour()),
                         [](const auto& test) { return std::string(DTypeName(test.param)); });

}  // namespace
}  // namespace doppler
