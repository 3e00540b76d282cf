#include "backend/quantize.h"

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "backend/quantize_search.h"

namespace doppler {
namespace {

std::vector<std::byte> Quantized(DType dtype, std::span<const float> values) {
  std::vector<std::byte> blocks(*RowBytes(dtype, values.size()));
  Quantize(dtype, values, blocks);
  return blocks;
}

std::vector<float> RoundTrip(DType dtype, std::span<const float> values) {
  std::vector<float> out(values.size());
  Dequantize(dtype, Quantized(dtype, values), out);
  return out;
}

std::vector<float> Gaussian(std::size_t count, float mean, float deviation) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> out(count);
  for (float& value : out) value = normal(random);
  return out;
}

double RelativeError(std::span<const float> values, std::span<const float> read) {
  double error = 0;
  double size = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    error += (values[i] - read[i]) * (values[i] - read[i]);
    size += values[i] * values[i];
  }
  return std::sqrt(error / size);
}

TEST(Quantize, WhatWasReadIsWrittenTheSameAgain) {
  const auto values = Gaussian(1024, 0, 1);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBf16, DType::kQ8_0}) {
    const auto blocks = Quantized(dtype, values);
    const auto again = Quantized(dtype, RoundTrip(dtype, values));
    EXPECT_EQ(blocks, again) << DTypeName(dtype);
  }
}

TEST(Quantize, Q80StaysWithinHalfAStep) {
  const auto values = Gaussian(1024, 0, 3);
  const auto read = RoundTrip(DType::kQ8_0, values);
  for (std::size_t block = 0; block < values.size(); block += 32) {
    float largest = 0;
    for (std::size_t i = 0; i < 32; ++i) largest = std::max(largest, std::abs(values[block + i]));
    // Half a step, and what rounding the scale to f16 adds.
    const float bound = largest / 127 * 0.5f + largest * 0x1p-11f;
    for (std::size_t i = block; i < block + 32; ++i) ASSERT_NEAR(values[i], read[i], bound);
  }
}

// The searched types, and the relative error that ggml's quantiser leaves on the same values
// (ggml_quantize_chunk of ggml 0.25.1, without an importance matrix).
struct Searched {
  DType dtype;
  double gaussian_error;
  double outlier_error;

  // What GoogleTest would print of it by itself are its bytes, among them some that have no value.
  friend std::ostream& operator<<(std::ostream& out, const Searched& searched) {
    return out << DTypeName(searched.dtype);
  }
};

class QuantizeSearch : public testing::TestWithParam<Searched> {};

TEST_P(QuantizeSearch, ErrorOfGaussianValuesIsBelowGgmls) {
  const auto values = Gaussian(8192, 0, 1);
  EXPECT_LT(RelativeError(values, RoundTrip(GetParam().dtype, values)), GetParam().gaussian_error);
}

TEST_P(QuantizeSearch, ErrorAmongOutliersIsBelowGgmls) {
  auto values = Gaussian(8192, 0, 1);
  for (std::size_t i = 0; i < values.size(); i += 61) values[i] *= 20;
  EXPECT_LT(RelativeError(values, RoundTrip(GetParam().dtype, values)), GetParam().outlier_error);
}

TEST_P(QuantizeSearch, ZerosStayZerosAndTinyValuesStayTiny) {
  const std::vector<float> zeros(256, 0.0f);
  EXPECT_EQ(RoundTrip(GetParam().dtype, zeros), zeros);
  for (const float size : {1e-38f, 1e-30f, 1e-13f, 1e-9f}) {
    for (const float value : RoundTrip(GetParam().dtype, Gaussian(256, 0, size))) {
      ASSERT_LE(std::abs(value), 1e-6f);
    }
  }
}

TEST_P(QuantizeSearch, TheLargestValuesStayFinite) {
  auto values = Gaussian(256, 0, 1);
  for (float& value : values) value = std::copysign(kLargestQuantizable, value);
  EXPECT_LT(RelativeError(values, RoundTrip(GetParam().dtype, values)), 0.07);
}

TEST_P(QuantizeSearch, KeepsABlockOfOneValue) {
  for (const float value : {-3.0f, 3.0f}) {
    const std::vector<float> values(256, value);
    EXPECT_LT(RelativeError(values, RoundTrip(GetParam().dtype, values)), 1e-3) << value;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, QuantizeSearch,
                         testing::Values(Searched{DType::kQ4_0, 0.085623, 0.157254},
                                         Searched{DType::kQ4_K, 0.070884, 0.101651},
                                         Searched{DType::kQ5_K, 0.036038, 0.050786},
                                         Searched{DType::kQ6_K, 0.017695, 0.033848}),
                         [](const auto& test) { return std::string(DTypeName(test.param.dtype)); });

// Sub-blocks that use both ends of their range, as whole multiples of 2^-8, are found exactly.
TEST(QuantizeExactly, ValuesThatQ40CanHold) {
  std::vector<float> values(256);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = 0x1p-8f * (static_cast<float>(i * 7 % 16) - 8);
  }
  EXPECT_EQ(RoundTrip(DType::kQ4_0, values), values);
}

TEST(QuantizeExactly, ValuesThatQ6KCanHold) {
  std::vector<float> values(256);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto q = i % 16 == 0 ? -32.0f : static_cast<float>(i * 11 % 64) - 32;
    const auto sub_scale = i < 16 ? -128.0f : static_cast<float>(17 * (i / 16 % 4) + 40);
    values[i] = 0x1p-8f * sub_scale * q;
  }
  EXPECT_EQ(RoundTrip(DType::kQ6_K, values), values);
}

void ExpectSubBlocksAreExact(DType dtype, std::size_t levels) {
  std::vector<float> values(256);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t j = i / 32;
    const auto q = static_cast<float>(i * 5 % levels);
    values[i] = 0x1p-8f * static_cast<float>(63 - 7 * j) * q - 0x1p-4f * static_cast<float>(63 - j);
  }
  EXPECT_EQ(RoundTrip(dtype, values), values);
}

TEST(QuantizeExactly, ValuesThatQ4KCanHold) { ExpectSubBlocksAreExact(DType::kQ4_K, 16); }
TEST(QuantizeExactly, ValuesThatQ5KCanHold) { ExpectSubBlocksAreExact(DType::kQ5_K, 32); }

// Against the levels that the standard gives, and ggml's error as above.
TEST(QuantizeMxfp4, ErrorIsBelowGgmls) {
  constexpr std::array<float, 16> kLevels = {0,     0.5f,  1,  1.5f,  2,  3,  4,  6,
                                             -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  const auto values = Gaussian(8192, 0, 1);
  std::vector<float> read(values.size());
  for (std::size_t start = 0; start < values.size(); start += 32) {
    std::array<std::uint8_t, 17> block;
    QuantizeMxfp4(std::span<const float, 32>(values.data() + start, 32), block.data());
    const float scale = std::ldexp(1.0f, block[0] - 127);
    for (std::size_t i = 0; i < 16; ++i) {
      read[start + i] = scale * kLevels[block[1 + i] & 15u];
      read[start + 16 + i] = scale * kLevels[block[1 + i] >> 4];
    }
  }
  EXPECT_LT(RelativeError(values, read), 0.114262);
}

TEST(QuantizeMxfp4, ZerosAreZeroBytes) {
  const std::array<float, 32> zeros{};
  std::array<std::uint8_t, 17> block;
  block.fill(0xff);
  QuantizeMxfp4(zeros, block.data());
  EXPECT_EQ(block, (std::array<std::uint8_t, 17>{}));
}

TEST(QuantizeMinimums, ErrorIsSmallWhateverTheMean) {
  for (const float mean : {-2.0f, 2.0f}) {
    const auto values = Gaussian(8192, mean, 1);
    EXPECT_LT(RelativeError(values, RoundTrip(DType::kQ4_K, values)), 0.04) << mean;
  }
}

TEST(IsQuantizable, FiniteValuesThatF16Reaches) {
  EXPECT_TRUE(IsQuantizable(0));
  EXPECT_TRUE(IsQuantizable(-65504));
  EXPECT_FALSE(IsQuantizable(65505));
  EXPECT_FALSE(IsQuantizable(-std::numeric_limits<float>::infinity()));
  EXPECT_FALSE(IsQuantizable(std::numeric_limits<float>::quiet_NaN()));
}

}  // namespace
}  // namespace doppler
