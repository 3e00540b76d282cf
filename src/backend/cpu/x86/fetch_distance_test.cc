// How far ahead weights are fetched does not change what is computed, and nothing is read past the
// weights. A processor has one distance of its own; here all of them run.

#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/x86/vnni_tokens.h"
#include "backend/kernel_cases.h"

namespace doppler {
namespace {

std::vector<DType> TypesFetchedAhead() {
  return CanRun(CpuPath::kAvx512Vnni) ? GroupedTypes() : std::vector<DType>();
}

class FetchDistanceTest : public testing::TestWithParam<DType> {};

TEST_P(FetchDistanceTest, DoesNotChangeTheBits) {
  const MatMulKernel kernel = ProductOf(KernelsOf(CpuPath::kAvx512Vnni), GetParam());
  for (const int cols : {256, 1024}) {
    const OwnedMatrix rows = RandomMatrix(GetParam(), 2 * kGroupRows, cols, 5);
    const OwnedMatrix groups = InGroups(rows.view);
    for (const int tokens : {1, 3, 5, 8}) {
      const VnniTokens x(GetParam(), tokens, cols);
      OwnedRows expected = RunKernel(kernel, rows.view, x.rows(), tokens);
      for (int distance = 0; distance < kFetchDistances; ++distance) {
        OwnedRows found =
            RunKernel(kernel, groups.view, x.rows(), tokens, static_cast<FetchDistance>(distance));
        EXPECT_EQ(found.Bits(), expected.Bits())
            << cols << " columns, " << tokens << " tokens, distance " << distance;
      }
    }
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(FetchDistanceTest);

INSTANTIATE_TEST_SUITE_P(Types, FetchDistanceTest, testing::ValuesIn(TypesFetchedAhead()),
                         [](const auto& test) { return std::string(DTypeName(test.param)); });

}  // namespace
}  // namespace doppler
