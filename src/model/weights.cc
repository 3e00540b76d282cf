#include "model/weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backend/quantize.h"
#include "base/error.h"
#include "model/tensors.h"

namespace doppler {
namespace {

// Gives out views of tensors by name; norms become float in a place that never moves.
class WeightMaker {
 public:
  WeightMaker(const DenseWeights& dense, const ModelConfig& config, std::vector<float>& norms)
      : dense_(dense), norms_(norms) {
    norms_.reserve(NormFloats(config));
  }

  WeightMatrix Matrix(const std::string& name) const { return dense_.Matrix(name + ".weight"); }

  std::span<const float> Norm(const std::string& name) {
    const WeightMatrix stored = Matrix(name);
    const auto count = static_cast<std::size_t>(stored.cols);
    DOPPLER_CHECK(norms_.size() + count <= norms_.capacity());
    norms_.resize(norms_.size() + count);
    const std::span<float> out = std::span(norms_).last(count);
    Dequantize(stored.dtype, dense_.Data(name + ".weight"), out);
    return out;
  }

  LayerWeights Layer(const ModelConfig& config, LayerId layer) {
    const auto name = [layer](const char* part) { return LayerTensorName(layer, part); };
    LayerWeights weights;
    weights.attention_norm = Norm(name("input_layernorm"));
    weights.query = Matrix(name("self_attn.q_proj"));
    weights.key = Matrix(name("self_attn.k_proj"));
    weights.value = Matrix(name("self_attn.v_proj"));
    if (config.query_key_norm) {
      weights.query_norm = Norm(name("self_attn.q_norm"));
      weights.key_norm = Norm(name("self_attn.k_norm"));
    }
    weights.attention_out = Matrix(name("self_attn.o_proj"));
    weights.ffn_norm = Norm(name("post_attention_layernorm"));
    if (config.HasExperts(layer)) {
      weights.router = Matrix(name("mlp.gate"));
    } else {
      weights.gate = Matrix(name("mlp.gate_proj"));
      weights.up = Matrix(name("mlp.up_proj"));
      weights.down = Matrix(name("mlp.down_proj"));
    }
    return weights;
  }

 private:
  const DenseWeights& dense_;
  std::vector<float>& norms_;
};

}  // namespace

std::vector<std::string> DenseTensorNames(const ModelConfig& config) {
  std::vector<std::string> names;
  for (TensorSpec& spec : ExpectedTensors(config)) {
    if (spec.role != TensorRole::kExpert) names.push_back(std::move(spec.name));
  }
  return names;
}

std::size_t NormFloats(const ModelConfig& config) {
  const auto layers = static_cast<std::size_t>(config.num_layers);
  const auto dim = static_cast<std::size_t>(config.model_dim);
  const auto head = static_cast<std::size_t>(config.query_key_norm ? config.head_dim : 0);
  return layers * (2 * dim + 2 * head) + dim;
}

void CheckShapes(const Manifest& manifest, const ModelConfig& config) {
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    const TensorEntry& tensor = manifest.Tensor(spec.name);
    if (tensor.layout != WeightLayout::kRow || tensor.slice) {
      Throw(
          "the tensor '{}' is stored by columns or in slices, which is not supported here; convert "
          "again",
          spec.name);
    }
    if (tensor.shape == spec.shape) continue;
    Throw(
        "the tensor '{}' has the shape [{}] and the model's configuration asks for [{}]; the "
        "manifest is damaged, convert again",
        spec.name, fmt::join(tensor.shape, ", "), fmt::join(spec.shape, ", "));
  }
}

Weights MakeWeights(const DenseWeights& dense, const ModelConfig& config) {
  Weights weights;
  WeightMaker maker(dense, config, weights.norms);
  weights.embedding = maker.Matrix("embed_tokens");
  for (int layer = 0; layer < config.num_layers; ++layer) {
    weights.layers.push_back(maker.Layer(config, LayerId(layer)));
  }
  weights.final_norm = maker.Norm("norm");
  weights.output = config.tied_embeddings ? weights.embedding : maker.Matrix("lm_head");
  return weights;
}

}  // namespace doppler
