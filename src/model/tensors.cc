#include "model/tensors.h"

#include <fmt/format.h>

#include "format/manifest.h"

namespace doppler {
namespace {

class SpecList {
 public:
  explicit SpecList(int layer) : layer_(layer) {}

  void Add(TensorRole role, const std::string& part, std::vector<std::int64_t> shape) {
    AddNamed(role, part + ".weight", std::move(shape));
  }

  void AddNamed(TensorRole role, const std::string& part, std::vector<std::int64_t> shape) {
    const std::string name = layer_ < 0 ? part : LayerTensorName(LayerId(layer_), part);
    specs_.push_back({.name = name, .shape = std::move(shape), .role = role, .layer = layer_});
  }

  // A projection and, if it has one, its bias.
  void AddProjection(const std::string& part, std::int64_t rows, std::int64_t cols, bool bias) {
    Add(TensorRole::kProjection, part, {rows, cols});
    if (bias) AddNamed(TensorRole::kBias, part + ".bias", {rows});
  }

  void AddNorm(const std::string& part, std::int64_t size, NormKind kind = NormKind::kRms) {
    Add(TensorRole::kNorm, part, {size});
    if (kind == NormKind::kLayer) AddNamed(TensorRole::kBias, part + ".bias", {size});
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

void AddAttention(SpecList& list, const ModelConfig& config) {
  const std::int64_t dim = config.model_dim;
  const std::int64_t kv_dim = std::int64_t{config.num_kv_heads} * config.head_dim;
  list.AddProjection("self_attn.q_proj", config.QueryDim(), dim, config.attention_bias);
  list.AddProjection("self_attn.k_proj", kv_dim, dim, config.attention_bias);
  list.AddProjection("self_attn.v_proj", kv_dim, dim, config.attention_bias);
  if (config.query_key_norm) {
    list.AddNorm("self_attn.q_norm", config.head_dim);
    list.AddNorm("self_attn.k_norm", config.head_dim);
  }
  if (config.attention_sinks) {
    list.AddNamed(TensorRole::kBias, "self_attn.sinks", {config.num_heads});
  }
  list.AddProjection("self_attn.o_proj", dim, config.AttendedDim(), config.attention_bias);
}

void AddLatentAttention(SpecList& list, const ModelConfig& config) {
  const std::int64_t dim = config.model_dim;
  const std::int64_t heads = config.num_heads;
  const std::int64_t rank = config.kv_lora_rank;
  const std::int64_t plain = config.head_dim - config.rope_head_dim;
  if (config.q_lora_rank > 0) {
    list.AddProjection("self_attn.q_a_proj", config.q_lora_rank, dim, false);
    list.AddNorm("self_attn.q_a_layernorm", config.q_lora_rank);
    list.AddProjection("self_attn.q_b_proj", config.QueryDim(), config.q_lora_rank, false);
  } else {
    list.AddProjection("self_attn.q_proj", config.QueryDim(), dim, false);
  }
  list.AddProjection("self_attn.kv_a_proj_with_mqa", rank + config.rope_head_dim, dim, false);
  list.AddNorm("self_attn.kv_a_layernorm", rank);
  if (config.split_kv_b) {
    list.AddProjection("self_attn.k_b_proj", heads * rank, plain, false);
    list.AddProjection("self_attn.v_b_proj", config.AttendedDim(), rank, false);
  } else {
    list.AddProjection("self_attn.kv_b_proj", heads * plain + config.AttendedDim(), rank, false);
  }
  list.AddProjection("self_attn.o_proj", dim, config.AttendedDim(), false);
}

void AddGatedUnit(SpecList& list, const std::string& part, std::int64_t ffn, std::int64_t dim) {
  list.AddProjection(part + ".gate_proj", ffn, dim, false);
  list.AddProjection(part + ".up_proj", ffn, dim, false);
  list.AddProjection(part + ".down_proj", dim, ffn, false);
}

void AddExperts(SpecList& list, const ModelConfig& config) {
  const std::int64_t dim = config.model_dim;
  const std::int64_t experts = config.num_experts;
  list.Add(TensorRole::kRouter, "mlp.gate", {experts, dim});
  if (config.router_bias) list.AddNamed(TensorRole::kBias, "mlp.gate.bias", {experts});
  if (config.routing == RoutingKind::kSigmoid) {
    list.AddNamed(TensorRole::kBias, "mlp.gate.e_score_correction_bias", {experts});
  }
  if (config.shared_ffn_dim > 0) {
    AddGatedUnit(list, "mlp.shared_experts", config.shared_ffn_dim, dim);
  }
  if (config.expert_bias) {
    const std::int64_t ffn = config.expert_ffn_dim;
    list.AddNamed(TensorRole::kBias, "mlp.experts.gate_proj.bias", {experts, ffn});
    list.AddNamed(TensorRole::kBias, "mlp.experts.up_proj.bias", {experts, ffn});
    list.AddNamed(TensorRole::kBias, "mlp.experts.down_proj.bias", {experts, dim});
  }
  for (int e = 0; e < config.num_experts; ++e) list.AddExpert(ExpertId(e), config);
}

std::vector<TensorSpec> LayerTensors(const ModelConfig& config, LayerId layer) {
  SpecList list(layer.value);
  list.AddNorm("input_layernorm", config.model_dim, config.norm);
  if (config.IsLatent()) {
    AddLatentAttention(list, config);
  } else {
    AddAttention(list, config);
  }
  list.AddNorm("post_attention_layernorm", config.model_dim, config.norm);
  if (config.HasExperts(layer)) {
    AddExperts(list, config);
  } else {
    AddGatedUnit(list, "mlp", config.ffn_dim, config.model_dim);
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
  tail.AddNorm("norm", config.model_dim, config.norm);
  if (!config.tied_embeddings) {
    tail.AddProjection("lm_head", config.vocab_size, config.model_dim, config.head_bias);
  }
  all.insert(all.end(), tail.specs_.begin(), tail.specs_.end());
  return all;
}

}  // namespace doppler
