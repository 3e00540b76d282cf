#include "model/quantization.h"

#include <gtest/gtest.h>

namespace doppler {
namespace {

TensorSpec Spec(TensorRole role, std::vector<std::int64_t> shape, int layer = 0) {
  return {.name = "x", .shape = std::move(shape), .role = role, .layer = layer};
}

TEST(QuantizedFormat, ExpertsAndProjectionsTakeWhatWasAsked) {
  for (const DType dtype :
       {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kMxfp4}) {
    EXPECT_EQ(QuantizedFormat(Spec(TensorRole::kExpert, {32, 512}), dtype, false), dtype);
    EXPECT_EQ(QuantizedFormat(Spec(TensorRole::kProjection, {32, 512}), dtype, false), dtype);
  }
}

TEST(QuantizedFormat, Mxfp4IsForExpertsWhereThereAreSome) {
  EXPECT_EQ(QuantizedFormat(Spec(TensorRole::kExpert, {32, 512}), DType::kMxfp4, true),
            DType::kMxfp4);
  for (const int layer : {-1, 0}) {
    EXPECT_EQ(QuantizedFormat(Spec(TensorRole::kProjection, {32, 512}, layer), DType::kMxfp4, true),
              DType::kQ8_0);
  }
}

TEST(QuantizedFormat, VocabularyTablesKeepSixBitsOrMore) {
  for (const TensorRole role : {TensorRole::kEmbedding, TensorRole::kProjection}) {
    EXPECT_EQ(QuantizedFormat(Spec(role, {1000, 512}, -1), DType::kQ4_0, false), DType::kQ6_K);
    EXPECT_EQ(QuantizedFormat(Spec(role, {1000, 512}, -1), DType::kQ8_0, false), DType::kQ8_0);
    EXPECT_EQ(QuantizedFormat(Spec(role, {1000, 96}, -1), DType::kQ4_0, false), DType::kQ8_0);
  }
}

TEST(QuantizedFormat, RowsThatDoNotFitTakeQ80OrStay) {
  EXPECT_EQ(QuantizedFormat(Spec(TensorRole::kExpert, {8, 1408}), DType::kQ4_K, false),
            DType::kQ8_0);
  EXPECT_EQ(QuantizedFormat(Spec(TensorRole::kExpert, {8, 40}), DType::kQ4_K, false), std::nullopt);
}

TEST(QuantizedFormat, NormsRoutersAndBiasesStay) {
  EXPECT_EQ(QuantizedFormat(Spec(TensorRole::kNorm, {512}), DType::kQ8_0, false), std::nullopt);
  EXPECT_EQ(QuantizedFormat(Spec(TensorRole::kRouter, {8, 512}), DType::kQ8_0, false),
            std::nullopt);
  EXPECT_EQ(QuantizedFormat(Spec(TensorRole::kBias, {512}), DType::kQ8_0, false), std::nullopt);
  EXPECT_EQ(QuantizedFormat(Spec(TensorRole::kBias, {8, 512}), DType::kQ8_0, false), std::nullopt);
}

}  // namespace
}  // namespace doppler
