#include "model/weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backend/quantize.h"
#include "base/error.h"
#include "model/stored_layout.h"
#include "model/tensors.h"

namespace doppler {
namespace {

// Gives out views of tensors by name; norms and biases become float in a place that never moves.
class WeightMaker {
 public:
  WeightMaker(const WeightSources& sources, const ModelConfig& config, std::vector<float>& vectors)
      : sources_(sources), config_(config), vectors_(vectors) {
    vectors_.reserve(VectorFloats(config));
  }

  WeightMatrix Matrix(const std::string& name) { return Named(name + ".weight"); }

  std::span<const float> Vector(const std::string& name) {
    const DenseWeights& source =
        sources_.resident.Holds(name) ? sources_.resident : *sources_.vectors;
    const WeightMatrix stored = source.Matrix(name);
    const auto count = static_cast<std::size_t>(stored.cols);
    DOPPLER_CHECK(vectors_.size() + count <= vectors_.capacity());
    vectors_.resize(vectors_.size() + count);
    const std::span<float> out = std::span(vectors_).last(count);
    Dequantize(stored.dtype, source.Data(name), out);
    return out;
  }

  NormWeights Norm(const std::string& name) {
    NormWeights norm{.weight = Vector(name + ".weight"), .bias = {}};
    if (config_.norm == NormKind::kLayer) norm.bias = Vector(name + ".bias");
    return norm;
  }

  Projection Projected(const std::string& name, bool bias) {
    Projection projection{.weight = Matrix(name), .bias = {}};
    if (bias) projection.bias = Vector(name + ".bias");
    return projection;
  }

  LayerWeights Layer(LayerId layer) {
    const auto name = [layer](const char* part) { return LayerTensorName(layer, part); };
    LayerWeights weights;
    const std::size_t before = matrices_;
    weights.attention_norm = Norm(name("input_layernorm"));
    if (config_.IsLatent()) {
      Latent(layer, weights);
    } else {
      Attention(layer, weights);
    }
    weights.attention_out = Projected(name("self_attn.o_proj"), config_.attention_bias);
    weights.ffn_norm = Norm(name("post_attention_layernorm"));
    if (config_.HasExperts(layer)) {
      Experts(layer, weights);
    } else {
      weights.ffn = GatedUnit(name("mlp"));
    }
    std::size_t visited = 0;
    ForEachMatrix(weights, [&visited](const WeightMatrix&) { ++visited; });
    DOPPLER_CHECK(visited == matrices_ - before);
    return weights;
  }

 private:
  WeightMatrix Named(const std::string& name) {
    ++matrices_;
    return sources_.resident.Holds(name) ? sources_.resident.Matrix(name)
                                         : sources_.stream->Matrix(name);
  }

  void Attention(LayerId layer, LayerWeights& weights) {
    const auto name = [layer](const char* part) { return LayerTensorName(layer, part); };
    weights.query = Projected(name("self_attn.q_proj"), config_.attention_bias);
    weights.key = Projected(name("self_attn.k_proj"), config_.attention_bias);
    weights.value = Projected(name("self_attn.v_proj"), config_.attention_bias);
    if (config_.query_key_norm) {
      weights.query_norm = Vector(name("self_attn.q_norm.weight"));
      weights.key_norm = Vector(name("self_attn.k_norm.weight"));
    }
    if (config_.attention_sinks) weights.sinks = Vector(name("self_attn.sinks"));
  }

  void Latent(LayerId layer, LayerWeights& weights) {
    const auto name = [layer](const char* part) { return LayerTensorName(layer, part); };
    LatentWeights& latent = weights.latent;
    if (config_.q_lora_rank > 0) {
      latent.query_a = Projected(name("self_attn.q_a_proj"), false);
      latent.query_norm = Vector(name("self_attn.q_a_layernorm.weight"));
      weights.query = Projected(name("self_attn.q_b_proj"), false);
    } else {
      weights.query = Projected(name("self_attn.q_proj"), false);
    }
    latent.kv_a = Matrix(name("self_attn.kv_a_proj_with_mqa"));
    latent.kv_norm = Vector(name("self_attn.kv_a_layernorm.weight"));
    if (config_.split_kv_b) {
      latent.key_b = Matrix(name("self_attn.k_b_proj"));
      latent.value_b = Matrix(name("self_attn.v_b_proj"));
    } else {
      latent.kv_b = Matrix(name("self_attn.kv_b_proj"));
    }
  }

  void Experts(LayerId layer, LayerWeights& weights) {
    const auto name = [layer](const char* part) { return LayerTensorName(layer, part); };
    weights.router = Projected(name("mlp.gate"), config_.router_bias);
    if (config_.routing == RoutingKind::kSigmoid) {
      weights.router_correction = Vector(name("mlp.gate.e_score_correction_bias"));
    }
    if (config_.expert_bias) {
      weights.expert_biases = {.gate = Named(name("mlp.experts.gate_proj.bias")),
                               .up = Named(name("mlp.experts.up_proj.bias")),
                               .down = Named(name("mlp.experts.down_proj.bias"))};
    }
    if (config_.shared_ffn_dim > 0) weights.shared = GatedUnit(name("mlp.shared_experts"));
  }

  GatedUnitWeights GatedUnit(const std::string& part) {
    return {.gate = Matrix(part + ".gate_proj"),
            .up = Matrix(part + ".up_proj"),
            .down = Matrix(part + ".down_proj")};
  }

  const WeightSources& sources_;
  const ModelConfig& config_;
  std::vector<float>& vectors_;
  std::size_t matrices_ = 0;  // that were given out
};

}  // namespace

void ForEachMatrix(LayerWeights& layer, FunctionRef<void(WeightMatrix&)> visit) {
  LatentWeights& latent = layer.latent;
  ExpertBiases& biases = layer.expert_biases;
  for (WeightMatrix* matrix :
       {&layer.query.weight, &layer.key.weight, &layer.value.weight, &latent.query_a.weight,
        &latent.kv_a, &latent.kv_b, &latent.key_b, &latent.value_b, &layer.router.weight,
        &layer.attention_out.weight, &biases.gate, &biases.up, &biases.down, &layer.shared.gate,
        &layer.shared.up, &layer.shared.down, &layer.ffn.gate, &layer.ffn.up, &layer.ffn.down}) {
    if (matrix->data != nullptr) visit(*matrix);
  }
}

std::vector<std::string> DenseTensorNames(const ModelConfig& config) {
  std::vector<std::string> names;
  for (TensorSpec& spec : ExpectedTensors(config)) {
    if (spec.role != TensorRole::kExpert) names.push_back(std::move(spec.name));
  }
  return names;
}

DenseNames DenseNamesOf(const ModelConfig& config) {
  DenseNames names;
  names.layers.resize(static_cast<std::size_t>(config.num_layers));
  names.vectors.resize(names.layers.size());
  for (TensorSpec& spec : ExpectedTensors(config)) {
    if (spec.role == TensorRole::kExpert) continue;
    if (spec.layer < 0) {
      names.ends.push_back(std::move(spec.name));
      continue;
    }
    const std::size_t layer = LayerId(spec.layer).index();
    if (IsVector(spec)) names.vectors[layer].push_back(spec.name);
    names.layers[layer].push_back(std::move(spec.name));
  }
  return names;
}

std::size_t VectorFloats(const ModelConfig& config) {
  std::size_t count = 0;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    if (IsVector(spec)) count += static_cast<std::size_t>(spec.shape[0]);
  }
  return count;
}

void CheckShapes(const Manifest& manifest, const ModelConfig& config) {
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    const TensorEntry& tensor = manifest.Tensor(spec.name);
    const bool is_in_rows = tensor.layout == WeightLayout::kRow;
    const bool is_in_groups = IsGrouped(tensor.layout) && IsReadWhole(spec);
    if (tensor.slice || !(is_in_rows || is_in_groups)) {
      Throw(
          "the tensor '{}' is stored in the layout '{}' or in slices, which is not supported for "
          "it; convert again",
          spec.name, LayoutName(tensor.layout));
    }
    if (tensor.shape == spec.shape) continue;
    Throw(
        "the tensor '{}' has the shape [{}] and the model's configuration asks for [{}]; the "
        "manifest is damaged, convert again",
        spec.name, fmt::join(tensor.shape, ", "), fmt::join(spec.shape, ", "));
  }
}

Weights MakeWeights(const WeightSources& sources, const ModelConfig& config) {
  Weights weights;
  WeightMaker maker(sources, config, weights.vectors);
  weights.embedding = maker.Matrix("embed_tokens");
  for (int layer = 0; layer < config.num_layers; ++layer) {
    weights.layers.push_back(maker.Layer(LayerId(layer)));
  }
  weights.final_norm = maker.Norm("norm");
  if (config.tied_embeddings) {
    weights.output.weight = weights.embedding;
  } else {
    weights.output = maker.Projected("lm_head", config.head_bias);
  }
  return weights;
}

}  // namespace doppler
