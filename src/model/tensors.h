// The tensors a model must have: canonical names, shapes and what each is for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "model/config.h"

namespace doppler {

enum class TensorRole : std::uint8_t {
  kEmbedding,  // token table
  kNorm,       // normalisation weights
  kBias,       // what is added to a projection, and other lists of numbers
  kRouter,
  kProjection,  // dense matrices, the output projection among them
  kExpert,      // gate, up or down of one expert
};

struct TensorSpec {
  std::string name;
  std::vector<std::int64_t> shape;  // outermost first
  TensorRole role = TensorRole::kProjection;
  int layer = -1;   // -1: before or after the layers
  int expert = -1;  // -1: not an expert's
};

// Every tensor of the model: embedding, then layer by layer (dense tensors in the order in which
// they are used, then gate, up and down expert by expert), then the final norm and the output
// projection unless it is tied.
std::vector<TensorSpec> ExpectedTensors(const ModelConfig& config);

// Whether a tensor is a short list of numbers that the forward pass reads as floats.
inline bool IsVector(const TensorSpec& spec) {
  return spec.shape.size() == 1 &&
         (spec.role == TensorRole::kNorm || spec.role == TensorRole::kBias);
}

// "layers.3.self_attn.q_proj.weight" from a layer and the part after it.
std::string LayerTensorName(LayerId layer, const std::string& part);

}  // namespace doppler
