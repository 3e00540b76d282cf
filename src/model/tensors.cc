#include "model/tensors.h"

#include <fmt/format.h>

#include "format/manifest.h"

namespace doppler {
namespace {

class SpecList {
 public:
  explicit SpecList(int layer) : layer_(layer) {}

  void Add(TensorRole role, const std::string& part, std::vector<std::int64_t> shape) {
    const std::string name =
        layer_ < 0 ? part + ".weight" : LayerTensorName(LayerId(layer_), part + ".weight");
    specs_.push_back({.name = name, .shape = std::move(shape), .role = role, .layer = layer_});
  }

  void AddExpert(ExpertId expert, const ModelConfig& config) {
    const ExpertTensorNames names = ExpertNames(LayerId(layer_), expert);
    const std::int64_t dim = config.model_dim;
    const std::int64_t ffn = config.expert_ffn_dim;
    for (const auto& [name, rows, cols] :
         {std::tuple{&names.gate, ffn, dim}, {&names.up, ffn, dim}, {&names.down, dim, ffn}}) {
      specs_.push_back({.name = *name,
                        .shape = {rows, cols},
                        .role = TensorRole::kExpert,
                        .layer = layer_,
                        .expert = expert.value});
    }
  }

  std::vector<TensorSpec> specs_;

 private:
  int layer_;
};

std::vector<TensorSpec> LayerTensors(const ModelConfig& config, LayerId layer) {
  const std::int64_t dim = config.model_dim;
  const std::int64_t query_dim = std::int64_t{config.num_heads} * config.head_dim;
  const std::int64_t kv_dim = std::int64_t{config.num_kv_heads} * config.head_dim;
  SpecList list(layer.value);
  list.Add(TensorRole::kNorm, "input_layernorm", {dim});
  list.Add(TensorRole::kProjection, "self_attn.q_proj", {query_dim, dim});
  list.Add(TensorRole::kProjection, "self_attn.k_proj", {kv_dim, dim});
  list.Add(TensorRole::kProjection, "self_attn.v_proj", {kv_dim, dim});
  if (config.query_key_norm) {
    list.Add(TensorRole::kNorm, "self_attn.q_norm", {config.head_dim});
    list.Add(TensorRole::kNorm, "self_attn.k_norm", {config.head_dim});
  }
  list.Add(TensorRole::kProjection, "self_attn.o_proj", {dim, query_dim});
  list.Add(TensorRole::kNorm, "post_attention_layernorm", {dim});
  if (config.HasExperts(layer)) {
    list.Add(TensorRole::kRouter, "mlp.gate", {config.num_experts, dim});
    for (int e = 0; e < config.num_experts; ++e) list.AddExpert(ExpertId(e), config);
  } else {
    list.Add(TensorRole::kProjection, "mlp.gate_proj", {config.ffn_dim, dim});
    list.Add(TensorRole::kProjection, "mlp.up_proj", {config.ffn_dim, dim});
    list.Add(TensorRole::kProjection, "mlp.down_proj", {dim, config.ffn_dim});
  }
  return std::move(list.specs_);
}

}  // namespace

std::string LayerTensorName(LayerId layer, const std::string& part) {
  return fmt::format("layers.{}.{}", layer.value, part);
}

std::vector<TensorSpec> ExpectedTensors(const ModelConfig& config) {
  SpecList ends(-1);
  ends.Add(TensorRole::kEmbedding, "embed_tokens", {config.vocab_size, config.model_dim});
  std::vector<TensorSpec> all = std::move(ends.specs_);
  for (int layer = 0; layer < config.num_layers; ++layer) {
    std::vector<TensorSpec> of_layer = LayerTensors(config, LayerId(layer));
    all.insert(all.end(), std::make_move_iterator(of_layer.begin()),
               std::make_move_iterator(of_layer.end()));
  }
  SpecList tail(-1);
  tail.Add(TensorRole::kNorm, "norm", {config.model_dim});
  if (!config.tied_embeddings) {
    tail.Add(TensorRole::kProjection, "lm_head", {config.vocab_size, config.model_dim});
  }
  all.insert(all.end(), tail.specs_.begin(), tail.specs_.end());
  return all;
}

}  // namespace doppler
