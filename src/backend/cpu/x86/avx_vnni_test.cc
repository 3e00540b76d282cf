// Products by AVX-VNNI have the bits of those by AVX2.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/kernel_cases.h"
#include "backend/kernel_products.h"

namespace doppler {
namespace {

std::vector<DType> TypesOfVnni() {
  std::vector<DType> types;
  if (!CanRun(CpuPath::kAvxVnni)) return types;
  for (const DTypeTraits& traits : kDTypes) {
    if (kAvxVnniKernels.matmul->of[static_cast<std::size_t>(traits.dtype)] != nullptr) {
      types.push_back(traits.dtype);
    }
  }
  return types;
}

class AvxVnniTest : public testing::TestWithParam<DType> {};

TEST_P(AvxVnniTest, HasTheBitsOfAvx2) {
  constexpr int kAFewRows = 19;
  constexpr int kMany = 5;
  const int cols = Traits(GetParam()).block_elements == 256 ? 768 : 736;
  ThreadPool pool(1);
  const OwnedMatrix weights = RandomMatrix(GetParam(), kAFewRows, cols, 5);
  OwnedRows in(kMany, cols, GaussianValues(kMany * cols, 7));
  const auto bits_of = [&](CpuPath path, int tokens) {
    const auto backend = BackendOf(pool, path);
    backend->Reserve({.tokens = kMany, .cols = cols, .kept_cols = cols});
    OwnedRows out(tokens, kAFewRows, 3);
    backend->MatMul(weights.view, in.Slice(0, tokens), out.view());
    return out.Bits();
  };
  for (const int tokens : {1, kMany}) {
    EXPECT_EQ(bits_of(CpuPath::kAvxVnni, tokens), bits_of(CpuPath::kAvx2, tokens)) << tokens;
  }
}

// Processors without AVX-VNNI have no case.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(AvxVnniTest);

INSTANTIATE_TEST_SUITE_P(AllTypes, AvxVnniTest, testing::ValuesIn(TypesOfVnni()),
                         [](const auto& test) { return std::string(DTypeName(test.param)); });

}  // namespace
}  // namespace doppler
