// Products of halves by emulated tiles: they are near the products of the weights, and have the
// bits of the processor's own tiles where there are any.

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/quantized_scratch.h"
#include "backend/cpu/x86/emulated_tiles.h"
#include "backend/kernel_products.h"

namespace doppler {
namespace {

constexpr int kTokensOfHalves = 80;

std::vector<DType> TypesOfTiles() {
  std::vector<DType> types;
  if (!CanRun(CpuPath::kAvx512Vnni)) return types;
  for (const DTypeTraits& traits : kDTypes) {
    if (kEmulatedHalfTileProducts.of[static_cast<std::size_t>(traits.dtype)] != nullptr) {
      types.push_back(traits.dtype);
    }
  }
  return types;
}

// Activations of both kinds of tiles, which are alike.
class HalfTokens {
 public:
  HalfTokens(DType weights, int cols)
      : values_(GaussianValues(kTokensOfHalves * cols, 21)),
        halves_(values_.size()),
        residuals_(weights == DType::kMxfp4 ? values_.size() : 0) {
    rows_ = {.halves = halves_.data(),
             .half_residuals = residuals_.empty() ? nullptr : residuals_.data(),
             .cols = cols};
    for (int t = 0; t < kTokensOfHalves; ++t) EmulatedToHalves(Row(t), t, rows_);
  }
  HalfTokens(const HalfTokens&) = delete;
  HalfTokens& operator=(const HalfTokens&) = delete;

  const QuantizedRows& rows() const { return rows_; }
  const float* Row(int token) const {
    return values_.data() + static_cast<std::ptrdiff_t>(token) * rows_.cols;
  }

 private:
  std::vector<float> values_;
  std::vector<Bf16> halves_;
  std::vector<Bf16> residuals_;
  QuantizedRows rows_;
};

class HalfTilesTest : public testing::TestWithParam<DType> {
 protected:
  static MatMulKernel Emulated() {
    return kEmulatedHalfTileProducts.of[static_cast<std::size_t>(GetParam())];
  }

  static void ExpectTheBitsOfEmulation(const WeightMatrix& weights, const HalfTokens& x, int tokens,
                                       OwnedRows& emulated) {
    if (!CanRun(CpuPath::kAmxBf16)) return;
    const CpuKernels& kernels = KernelsOf(CpuPath::kAmxBf16);
    OwnedRows found = RunKernel(kernels.prompt_matmul->of[static_cast<std::size_t>(GetParam())],
                                weights, x.rows(), tokens);
    EXPECT_EQ(found.Bits(), emulated.Bits()) << weights.cols << " columns, " << tokens << " tokens";
  }

  static void ExpectNearProducts(const WeightMatrix& weights, const HalfTokens& x, Rows found) {
    const double activations = weights.dtype == DType::kMxfp4 ? 0x1p-16 : 0x1p-8;
    const double rounding = activations + RoundingToHalves(weights.dtype) + 1e-5;
    std::vector<float> row(static_cast<std::size_t>(weights.cols));
    for (int r = 0; r < weights.rows; ++r) {
      DequantizeColumns(weights, static_cast<std::size_t>(r), 0, row);
      for (int t = 0; t < found.rows; ++t) {
        double sum = 0;
        for (std::size_t c = 0; c < row.size(); ++c) {
          sum += static_cast<double>(row[c]) * x.Row(t)[c];
        }
        ASSERT_NEAR(found.Row(t)[r], sum, rounding * SizeOfProducts(weights, r, x.Row(t)))
            << weights.cols << " columns, row " << r << ", token " << t;
      }
    }
  }
};

TEST_P(HalfTilesTest, TheyAreNearTheProductsInAnyShape) {
  // One block, part of a chunk behind others; three panels and two rows; one tile of tokens, two,
  // three, and more than meet at once.
  const int block = Traits(GetParam()).block_elements;
  constexpr int kRows = 50;
  for (const int cols : {block, 512 + block, 768 + block}) {
    const auto weights = RandomMatrix(GetParam(), kRows, cols, 20);
    const HalfTokens x(GetParam(), cols);
    for (const int tokens : {1, 17, 40, 70}) {
      OwnedRows found = RunKernel(Emulated(), weights.view, x.rows(), tokens);
      ExpectNearProducts(weights.view, x, found.view());
      ExpectTheBitsOfEmulation(weights.view, x, tokens, found);
    }
  }
}

TEST_P(HalfTilesTest, GroupsOfRowsHaveTheBitsOfRowsInOrder) {
  if (!CanGroupRows(GetParam(), kGroupRows)) return;
  const int block = Traits(GetParam()).block_elements;
  const int cols = 512 + block;
  const auto weights = RandomMatrix(GetParam(), 3 * kGroupRows, cols, 20);
  const OwnedMatrix groups = InGroups(weights.view);
  const HalfTokens x(GetParam(), cols);
  for (const int tokens : {1, 19}) {
    OwnedRows in_order = RunKernel(Emulated(), weights.view, x.rows(), tokens);
    OwnedRows found = RunKernel(Emulated(), groups.view, x.rows(), tokens);
    EXPECT_EQ(found.Bits(), in_order.Bits()) << tokens << " tokens";
    ExpectTheBitsOfEmulation(groups.view, x, tokens, found);
  }
}

// So that what a row is multiplied by has to change on the way.
TEST_P(HalfTilesTest, WeightsMayGrowAlongARow) {
  if (FactorOffsets(GetParam()).empty()) return;
  constexpr int kCols = 1536;
  constexpr int kRows = 16;
  auto weights = RandomMatrix(GetParam(), kRows, kCols, 23);
  const auto block = static_cast<std::size_t>(Traits(GetParam()).block_bytes);
  const auto blocks_of_row = static_cast<std::size_t>(kCols / Traits(GetParam()).block_elements);
  for (std::size_t i = 0; i < blocks_of_row * kRows; ++i) {
    // From 2^-20 on to 2^-2, with a row of zeros at first.
    const auto at = static_cast<int>(i % blocks_of_row * 18 / blocks_of_row);
    const bool zero = i / blocks_of_row == 3 && at < 6;
    const std::uint16_t bits = FloatToFp16(zero ? 0 : std::ldexp(1.5f, at - 20));
    for (const int offset : FactorOffsets(GetParam())) {
      std::memcpy(weights.bytes.data() + i * block + static_cast<std::size_t>(offset), &bits,
                  sizeof(bits));
    }
  }
  const HalfTokens x(GetParam(), kCols);
  OwnedRows found = RunKernel(Emulated(), weights.view, x.rows(), 18);
  ExpectNearProducts(weights.view, x, found.view());
  ExpectTheBitsOfEmulation(weights.view, x, 18, found);
}

// Processors without AVX-512 VNNI have no case.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HalfTilesTest);

INSTANTIATE_TEST_SUITE_P(HalfTiles, HalfTilesTest, testing::ValuesIn(TypesOfTiles()),
                         [](const auto& test) { return std::string(DTypeName(test.param)); });

TEST(AmxBf16, DecodesAsVnniDoes) {
  if (!CanRun(CpuPath::kAmxBf16)) return;
  const CpuKernels& vnni = KernelsOf(CpuPath::kAvx512Vnni);
  const CpuKernels& halves = KernelsOf(CpuPath::kAmxBf16);
  EXPECT_EQ(vnni.matmul, halves.matmul);
  EXPECT_EQ(vnni.quantize, halves.quantize);
  EXPECT_EQ(vnni.attend_f16, halves.attend_f16);
}

// All quantised weights or none, since activations of one call share their place.
TEST(AmxBf16, EveryQuantisedTypeHasAProduct) {
  for (const CpuPath path : RunnableCpuPaths()) {
    const CpuKernels& kernels = KernelsOf(path);
    EXPECT_EQ(kernels.prompt_matmul != nullptr, kernels.to_halves != nullptr);
    if (kernels.prompt_matmul == nullptr) continue;
    for (const DTypeTraits& traits : kDTypes) {
      const bool reads_halves = !IsFloat(traits.dtype) && !HasScaleGrid(traits.dtype);
      const auto type = static_cast<std::size_t>(traits.dtype);
      EXPECT_EQ(kernels.prompt_matmul->of[type] != nullptr, reads_halves) << traits.name;
    }
  }
}

}  // namespace
}  // namespace doppler
