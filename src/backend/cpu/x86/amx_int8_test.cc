// Products by tiles have the bits of those by AVX-512 VNNI: on a processor with AMX by its tiles,
// on every one with AVX-512 VNNI by emulated ones.

#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/x86/emulated_tiles.h"
#include "backend/cpu/x86/vnni_tokens.h"
#include "backend/kernel_cases.h"

namespace doppler {
namespace {

// Whose tiles, and the type of the weights.
using TilesCase = std::tuple<std::string, DType>;

std::vector<TilesCase> TilesCases() {
  std::vector<TilesCase> cases;
  for (const DTypeTraits& traits : kDTypes) {
    if (kEmulatedTileProducts.of[static_cast<std::size_t>(traits.dtype)] == nullptr) continue;
    if (CanRun(CpuPath::kAvx512Vnni)) cases.emplace_back("emulated", traits.dtype);
    if (CanRun(CpuPath::kAmxInt8)) cases.emplace_back("amx", traits.dtype);
  }
  return cases;
}

class TilesTest : public testing::TestWithParam<TilesCase> {
 protected:
  static constexpr int kRows = 37;  // two panels and five rows
  static constexpr int kMostTokens = 35;

  static DType dtype() { return std::get<DType>(GetParam()); }
  static MatMulKernel KernelOf(CpuPath path) { return ProductOf(KernelsOf(path), dtype()); }
  static MatMulKernel KernelWithTiles() {
    return std::get<std::string>(GetParam()) == "amx"
               ? KernelOf(CpuPath::kAmxInt8)
               : kEmulatedTileProducts.of[static_cast<std::size_t>(dtype())];
  }

  static void ExpectTheBitsOfVnni(int cols) {
    const auto weights = RandomMatrix(dtype(), kRows, cols, 20);
    const VnniTokens x(dtype(), kMostTokens, cols);
    for (const int tokens : {7, 8, 15, 16, 17, kMostTokens}) {
      OwnedRows expected =
          RunKernel(KernelOf(CpuPath::kAvx512Vnni), weights.view, x.rows(), tokens);
      OwnedRows found = RunKernel(KernelWithTiles(), weights.view, x.rows(), tokens);
      EXPECT_EQ(found.Bits(), expected.Bits()) << cols << " columns, " << tokens << " tokens";
    }
  }
};

TEST_P(TilesTest, TheyGiveTheBitsOfVnni) {
  // One block, an even and an odd number of chunks with part of one more, and more than a panel
  // has.
  const int block = Traits(dtype()).block_elements;
  for (const int cols : {block, 512 + block, 768 + block, 2048 + block}) ExpectTheBitsOfVnni(cols);
}

// Processors without AVX-512 VNNI have no case.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TilesTest);

INSTANTIATE_TEST_SUITE_P(Tiles, TilesTest, testing::ValuesIn(TilesCases()), [](const auto& test) {
  return std::get<std::string>(test.param) + "_" +
         std::string(DTypeName(std::get<DType>(test.param)));
});

}  // namespace
}  // namespace doppler
