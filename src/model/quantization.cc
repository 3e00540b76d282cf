#include "model/quantization.h"

namespace doppler {
namespace {

bool IsVocabularyTable(const TensorSpec& spec) {
  return spec.role == TensorRole::kEmbedding ||
         (spec.role == TensorRole::kProjection && spec.layer < 0);
}

DType WantedFormat(const TensorSpec& spec, DType asked, bool has_experts) {
  if (asked == DType::kMxfp4 && has_experts && spec.role != TensorRole::kExpert) {
    return DType::kQ8_0;
  }
  return IsVocabularyTable(spec) && asked != DType::kQ8_0 ? DType::kQ6_K : asked;
}

}  // namespace

bool IsWeightMatrix(const TensorSpec& spec) {
  return spec.role == TensorRole::kEmbedding || spec.role == TensorRole::kProjection ||
         spec.role == TensorRole::kExpert;
}

std::optional<DType> QuantizedFormat(const TensorSpec& spec, DType asked, bool has_experts) {
  if (!IsWeightMatrix(spec)) return std::nullopt;
  const DType wanted = WantedFormat(spec, asked, has_experts);
  const auto cols = static_cast<std::uint64_t>(spec.shape.back());
  for (const DType dtype : {wanted, DType::kQ8_0}) {
    if (RowBytes(dtype, cols)) return dtype;
  }
  return std::nullopt;
}

}  // namespace doppler
