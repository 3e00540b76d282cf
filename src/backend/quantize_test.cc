#include "backend/quantize.h"

#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

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

TEST(Quantize, CoversTheTypesItSays) {
  for (const DTypeTraits& traits : kDTypes) {
    const bool expected =
        IsFloat(traits.dtype) || traits.dtype == DType::kQ8_0 || traits.dtype == DType::kQ4_K;
    EXPECT_EQ(CanQuantize(traits.dtype), expected) << traits.name;
  }
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

TEST(Quantize, Q4KErrorIsSmallWhateverTheMean) {
  for (const float mean : {-2.0f, 0.0f, 2.0f}) {
    const auto values = Gaussian(4096, mean, 1);
    EXPECT_LT(RelativeError(values, RoundTrip(DType::kQ4_K, values)), 0.08) << mean;
  }
}

TEST(Quantize, ZerosAndTinyValuesStayFinite) {
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_K}) {
    const std::vector<float> zeros(256, 0.0f);
    EXPECT_EQ(RoundTrip(dtype, zeros), zeros);
    for (const float size : {1e-30f, 1e-9f}) {
      for (const float value : RoundTrip(dtype, Gaussian(256, 0, size))) {
        ASSERT_LE(std::abs(value), 1e-7f);
      }
    }
  }
}

TEST(Quantize, Q4KKeepsABlockOfOneValue) {
  for (const float value : {-3.0f, 3.0f}) {
    const std::vector<float> values(256, value);
    EXPECT_LT(RelativeError(values, RoundTrip(DType::kQ4_K, values)), 1e-3) << value;
  }
}

}  // namespace
}  // namespace doppler
