// Every block format against ggml's own bytes: tests/data/quant_vectors.safetensors holds rows
// that ggml quantised, what ggml reads from them, and what it reads from random bytes.

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/quantize.h"
#include "format/safetensors.h"

namespace doppler {
namespace {

const std::string kData = DOPPLER_SOURCE_DIR "/tests/data/quant_vectors";
constexpr std::size_t kRowElements = 1024;

class Vectors {
 public:
  template <typename T>
  std::vector<T> Tensor(const std::string& name) const {
    const std::vector<std::byte> bytes = file_.Read(name, sizeof(T) == 1 ? "U8" : "F32");
    std::vector<T> out(bytes.size() / sizeof(T));
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
  }

 private:
  const SafetensorsFile file_{kData + ".safetensors"};
};

struct Case {
  DType dtype;
  const char* ggml_name;
};

class QuantVectors : public testing::TestWithParam<Case> {
 protected:
  void ExpectDequantizes(const std::string& blocks_name, const std::string& expected_name) {
    const std::string type = GetParam().ggml_name;
    const auto blocks = vectors_.Tensor<std::byte>(type + blocks_name);
    const auto expected = vectors_.Tensor<float>(type + expected_name);
    std::vector<float> out(expected.size());
    Dequantize(GetParam().dtype, blocks, out);
    for (std::size_t i = 0; i < out.size(); ++i) {
      // Which NaN it is depends on the instruction that made it.
      if (std::isnan(expected[i])) {
        ASSERT_TRUE(std::isnan(out[i])) << i;
      } else {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(expected[i]))
            << i << ": " << out[i] << " != " << expected[i];
      }
    }
  }

  Vectors vectors_;
};

TEST_P(QuantVectors, DequantizesWhatGgmlQuantised) { ExpectDequantizes(".blocks", ".expected"); }

TEST_P(QuantVectors, DequantizesRandomBytes) {
  ExpectDequantizes(".rand_blocks", ".rand_expected");
}

INSTANTIATE_TEST_SUITE_P(
    Types, QuantVectors,
    testing::Values(Case{DType::kF16, "F16"}, Case{DType::kBf16, "BF16"},
                    Case{DType::kQ8_0, "Q8_0"}, Case{DType::kQ4_0, "Q4_0"},
                    Case{DType::kQ4_1, "Q4_1"}, Case{DType::kQ5_0, "Q5_0"},
                    Case{DType::kQ5_1, "Q5_1"}, Case{DType::kQ2_K, "Q2_K"},
                    Case{DType::kQ3_K, "Q3_K"}, Case{DType::kQ4_K, "Q4_K"},
                    Case{DType::kQ5_K, "Q5_K"}, Case{DType::kQ6_K, "Q6_K"},
                    Case{DType::kIQ4_NL, "IQ4_NL"}, Case{DType::kIQ4_XS, "IQ4_XS"},
                    Case{DType::kIQ3_XXS, "IQ3_XXS"}, Case{DType::kIQ3_S, "IQ3_S"},
                    Case{DType::kIQ2_XXS, "IQ2_XXS"}, Case{DType::kIQ2_XS, "IQ2_XS"},
                    Case{DType::kIQ2_S, "IQ2_S"}, Case{DType::kIQ1_S, "IQ1_S"},
                    Case{DType::kIQ1_M, "IQ1_M"}, Case{DType::kMxfp4, "MXFP4"}),
    [](const auto& test) { return std::string(test.param.ggml_name); });

TEST(QuantVectorsFromFloat, QuantizesToTheSameBytes) {
  const Vectors vectors;
  const auto input = vectors.Tensor<float>("input");
  for (const Case& type :
       {Case{DType::kF16, "F16"}, Case{DType::kBf16, "BF16"}, Case{DType::kQ8_0, "Q8_0"}}) {
    const auto expected = vectors.Tensor<std::byte>(std::string(type.ggml_name) + ".blocks");
    std::vector<std::byte> blocks(expected.size());
    Quantize(type.dtype, input, blocks);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      ASSERT_EQ(blocks[i], expected[i]) << type.ggml_name << ' ' << i;
    }
  }
}

double RootMeanSquareError(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

// The rows by kind: eight Gaussian, then one each with outliers, of zeros and of tiny values.
struct RowKind {
  const char* name;
  std::size_t first;
  std::size_t count;
};
constexpr std::array<RowKind, 4> kRowKinds = {
    {{"gauss", 0, 8}, {"outliers", 8, 1}, {"zeros", 9, 1}, {"tiny", 10, 1}}};

class QuantizedRows : public testing::TestWithParam<Case> {};

TEST_P(QuantizedRows, AreAsCloseAsGgmls) {
  const Vectors vectors;
  const auto input = vectors.Tensor<float>("input");
  const auto of_ggml = vectors.Tensor<float>(std::string(GetParam().ggml_name) + ".expected");
  const DType dtype = GetParam().dtype;
  std::vector<std::byte> blocks(*RowBytes(dtype, input.size()));
  Quantize(dtype, input, blocks);
  std::vector<float> ours(input.size());
  Dequantize(dtype, blocks, ours);
  for (const RowKind& kind : kRowKinds) {
    const auto rows = [&kind](const std::vector<float>& values) {
      return std::span(values).subspan(kind.first * kRowElements, kind.count * kRowElements);
    };
    const double error = RootMeanSquareError(rows(input), rows(ours));
    const double bound = RootMeanSquareError(rows(input), rows(of_ggml));
    RecordProperty(kind.name, std::to_string(error / bound));
    EXPECT_LE(error, bound) << kind.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, QuantizedRows,
                         testing::Values(Case{DType::kQ8_0, "Q8_0"}, Case{DType::kQ4_0, "Q4_0"},
                                         Case{DType::kQ4_K, "Q4_K"}, Case{DType::kQ5_K, "Q5_K"},
                                         Case{DType::kQ6_K, "Q6_K"}),
                         [](const auto& test) { return std::string(test.param.ggml_name); });

}  // namespace
}  // namespace doppler
