// The model's configuration from a GGUF's metadata, in llama.cpp's keys.
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "convert/checkpoint.h"
#include "model/families.h"

namespace doppler {
namespace {

// The keys below "llama." or another architecture's name.
class Keys {
 public:
  explicit Keys(const GgufModel& model)
      : metadata_(model.metadata()), prefix_(metadata_.String("general.architecture") + ".") {}

  const std::string& where() const { return metadata_.where(); }
  bool Has(const char* key) const { return metadata_.Has(prefix_ + key); }
  int Int(const char* key) const { return metadata_.Int(prefix_ + key); }
  int Int(const char* key, int otherwise) const { return metadata_.Int(prefix_ + key, otherwise); }
  double Number(const char* key) const { return metadata_.Number(prefix_ + key); }
  double Number(const char* key, double otherwise) const {
    return metadata_.Number(prefix_ + key, otherwise);
  }
  bool Bool(const char* key, bool otherwise) const {
    return metadata_.Bool(prefix_ + key, otherwise);
  }
  std::string String(const char* key, const std::string& otherwise) const {
    return metadata_.String(prefix_ + key, otherwise);
  }

  void Require(const char* key, int value, int supported) const {
    if (value == supported) return;
    Throw("{}: '{}{}' is {}, and only {} is supported for this model", where(), prefix_, key, value,
          supported);
  }

 private:
  const GgufMetadata& metadata_;
  std::string prefix_;
};

bool HasTensor(const GgufModel& model, const std::string& name) {
  return model.tensors().contains(name);
}

// Llama 3.1's position scaling comes as a tensor of divisors, [head_dim / 2].
std::vector<float> RopeTensor(const GgufModel& model, int head_dim) {
  const std::string name = "rope_freqs.weight";
  const GgufTensor& tensor = model.tensors().at(name);
  const std::vector<std::int64_t> expected = {head_dim / 2};
  if (tensor.shape != expected) {
    ThrowShape(model.metadata().where(), name, tensor.shape, expected);
  }
  if (DTypeOfGgml(tensor.type) != DType::kF32) {
    Throw("{}: the tensor '{}' is not F32", model.metadata().where(), name);
  }
  std::vector<float> factors(static_cast<std::size_t>(head_dim / 2));
  model.files()[tensor.file].ReadAt(tensor.offset, std::as_writable_bytes(std::span(factors)));
  return factors;
}

std::vector<float> RopeFactors(const GgufModel& model, const Keys& keys, int head_dim) {
  if (HasTensor(model, "rope_freqs.weight")) return RopeTensor(model, head_dim);
  const std::string type = keys.String("rope.scaling.type", "none");
  if (type == "none") return {};
  if (type == "linear") {
    return std::vector<float>(static_cast<std::size_t>(head_dim / 2),
                              static_cast<float>(keys.Number("rope.scaling.factor")));
  }
  Throw("{}: the position scaling '{}' is not supported; supported are none, linear and Llama 3's",
        keys.where(), type);
}

void ReadExperts(const GgufModel& model, const Keys& keys, ModelConfig& config) {
  config.num_experts = keys.Int("expert_count");
  config.experts_per_token = keys.Int("expert_used_count");
  config.expert_ffn_dim =
      keys.Int("expert_feed_forward_length", keys.Int("feed_forward_length", 0));
  config.normalize_expert_weights = keys.Bool("expert_weights_norm", true);
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = fmt::format("blk.{}.ffn_gate", layer);
    if (HasTensor(model, prefix + ".weight") && !HasTensor(model, prefix + "_inp.weight")) {
      config.dense_layers.push_back(layer);
    }
  }
}

int VocabSize(const GgufModel& model) {
  const auto found = model.tensors().find("token_embd.weight");
  if (found == model.tensors().end() || found->second.shape.size() != 2 ||
      found->second.shape[0] > 1 << 30) {
    Throw("{}: the tensor 'token_embd.weight' is missing or not a table; the file is damaged",
          model.metadata().where());
  }
  return static_cast<int>(found->second.shape[0]);
}

void RefuseUnsupported(const Keys& keys, const ModelConfig& config) {
  keys.Require("rope.dimension_count", keys.Int("rope.dimension_count", config.head_dim),
               config.head_dim);
  keys.Require("attention.value_length", keys.Int("attention.value_length", config.head_dim),
               config.head_dim);
  const int window = keys.Int("attention.sliding_window", 0);
  if (window > 0 && window < config.context_length) {
    Throw("{}: this model needs a sliding window of {} positions, which is not supported",
          keys.where(), window);
  }
}

}  // namespace

ModelConfig ConfigFromGguf(const GgufModel& model) {
  const Keys keys(model);
  const bool experts = keys.Int("expert_count", 0) > 0;
  const Family& family =
      FamilyByGguf(model.metadata().String("general.architecture"), experts, keys.where());
  ModelConfig config = StartConfig(family);
  config.num_layers = keys.Int("block_count");
  config.model_dim = keys.Int("embedding_length");
  config.num_heads = keys.Int("attention.head_count");
  config.num_kv_heads = keys.Int("attention.head_count_kv", config.num_heads);
  if (config.num_heads == 0) Throw("{}: the number of heads is 0", keys.where());
  config.head_dim = keys.Int("attention.key_length", config.model_dim / config.num_heads);
  config.vocab_size = VocabSize(model);
  config.context_length = keys.Int("context_length");
  config.norm_epsilon = static_cast<float>(keys.Number("attention.layer_norm_rms_epsilon"));
  config.rope_theta = keys.Number("rope.freq_base", 10000.0);
  config.tied_embeddings = !HasTensor(model, "output.weight");
  // Checked before the layer count and head size bound the loops below.
  if (config.num_layers > 4096 || config.head_dim > 4096) ValidateConfig(config, keys.where());
  RefuseUnsupported(keys, config);
  config.rope_scaling.factors = RopeFactors(model, keys, config.head_dim);
  if (family.experts) ReadExperts(model, keys, config);
  if (config.NumMoeLayers() < config.num_layers) config.ffn_dim = keys.Int("feed_forward_length");
  ValidateConfig(config, keys.where());
  return config;
}

}  // namespace doppler
