#include "convert/gguf_rope.h"

#include <cmath>

namespace doppler {
namespace {

constexpr const char* kLlama3Factors = "rope_freqs.weight";
constexpr const char* kShortFactors = "rope_factors_short.weight";
constexpr const char* kLongFactors = "rope_factors_long.weight";

// A tensor of divisors, [RotaryDim / 2].
std::vector<float> FactorTensor(const GgufModel& model, const char* name, int rotary_dim) {
  const auto found = model.tensors().find(name);
  if (found == model.tensors().end()) {
    Throw("{}: the tensor '{}' is missing; the file is not complete, fetch it again",
          model.metadata().where(), name);
  }
  const GgufTensor& tensor = found->second;
  if (tensor.shape != std::vector<std::int64_t>{rotary_dim / 2} ||
      DTypeOfGgml(tensor.type) != DType::kF32) {
    Throw("{}: the tensor '{}' is not a list of {} numbers in F32", model.metadata().where(), name,
          rotary_dim / 2);
  }
  std::vector<float> factors(static_cast<std::size_t>(rotary_dim / 2));
  model.files()[tensor.file].ReadAt(tensor.offset, std::as_writable_bytes(std::span(factors)));
  return factors;
}

RopeScaling Yarn(const GgufKeys& keys, const Family& family, const ModelConfig& config) {
  const YarnScaling yarn = {.factor = keys.Number("rope.scaling.factor"),
                            .original_context = keys.Number("rope.scaling.original_context_length"),
                            .beta_fast = keys.Number("rope.scaling.yarn_beta_fast", 32),
                            .beta_slow = keys.Number("rope.scaling.yarn_beta_slow", 1),
                            .truncate = family.traits.truncate_yarn};
  const double magnitude = keys.Number("rope.scaling.attn_factor", 1) * YarnMagnitude(yarn.factor);
  return {.factors = YarnRopeFactors(yarn, config.rope_theta, config.RotaryDim()),
          .magnitude = static_cast<float>(magnitude)};
}

// Without attn_factor the magnitude follows from how far the context was stretched, as in the hub's
// longrope.
void ReadLongRope(const GgufModel& model, const GgufKeys& keys, ModelConfig& config) {
  config.long_rope_from = keys.Int("rope.scaling.original_context_length");
  const double magnitude = keys.Number(
      "rope.scaling.attn_factor", LongRopeMagnitude(config.context_length, config.long_rope_from));
  config.rope_scaling = {.factors = FactorTensor(model, kShortFactors, config.RotaryDim()),
                         .magnitude = static_cast<float>(magnitude)};
  config.long_rope_scaling = {.factors = FactorTensor(model, kLongFactors, config.RotaryDim()),
                              .magnitude = static_cast<float>(magnitude)};
}

}  // namespace

void ReadGgufRope(const GgufModel& model, const GgufKeys& keys, const Family& family,
                  ModelConfig& config) {
  config.rope_theta = keys.Number("rope.freq_base", 10000.0);
  if (model.tensors().contains(kLongFactors)) {
    ReadLongRope(model, keys, config);
    return;
  }
  // Llama 3.1's position scaling.
  if (model.tensors().contains(kLlama3Factors)) {
    config.rope_scaling.factors = FactorTensor(model, kLlama3Factors, config.RotaryDim());
    return;
  }
  const std::string type = keys.String("rope.scaling.type", "none");
  if (type == "none") return;
  if (type == "linear") {
    config.rope_scaling.factors.assign(static_cast<std::size_t>(config.RotaryDim() / 2),
                                       static_cast<float>(keys.Number("rope.scaling.factor")));
  } else if (type == "yarn") {
    config.rope_scaling = Yarn(keys, family, config);
  } else {
    Throw(
        "{}: the position scaling '{}' is not supported; supported are none, linear, yarn and "
        "those "
        "of Llama 3 and Phi",
        keys.where(), type);
  }
}

}  // namespace doppler
