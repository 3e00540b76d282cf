// The metadata of a GGUF file.
#include <algorithm>

#include "base/error.h"
#include "format/gguf.h"
#include "model/config.h"
#include "model/families.h"

namespace doppler {
namespace {

// Keys stand under the architecture's name: "qwen3moe.block_count".
class Keys {
 public:
  Keys(const GgufMetadata& metadata, std::string prefix)
      : metadata_(metadata), prefix_(std::move(prefix)) {}

  int Int(const char* key) const { return metadata_.Int(prefix_ + key); }
  int Int(const char* key, int otherwise) const { return metadata_.Int(prefix_ + key, otherwise); }
  double Number(const char* key) const { return metadata_.Number(prefix_ + key); }
  double Number(const char* key, double otherwise) const {
    return metadata_.Number(prefix_ + key, otherwise);
  }
  std::string String(const char* key, const char* otherwise) const {
    return metadata_.String(prefix_ + key, otherwise);
  }
  const std::string& where() const { return metadata_.where(); }

 private:
  const GgufMetadata& metadata_;
  std::string prefix_;
};

void ReadRope(const Keys& keys, const GgufFacts& facts, ModelConfig& config) {
  config.rope_theta = keys.Number("rope.freq_base", 10000.0);
  config.rope_factors = facts.rope_factors;
  const int rotated = keys.Int("rope.dimension_count", config.head_dim);
  if (rotated != config.head_dim) {
    Throw("{}: only {} of {} values of a head are rotated, which is not supported", keys.where(),
          rotated, config.head_dim);
  }
  const std::string scaling = keys.String("rope.scaling.type", "none");
  if (scaling == "linear" && config.head_dim >= 2) {
    config.rope_factors.assign(static_cast<std::size_t>(config.head_dim / 2),
                               static_cast<float>(keys.Number("rope.scaling.factor")));
  } else if (scaling != "none") {
    Throw("{}: the position scaling '{}' is not supported; supported are none and linear",
          keys.where(), scaling);
  }
}

}  // namespace

ModelConfig ConfigFromGguf(const GgufMetadata& metadata, const GgufFacts& facts) {
  const std::string& architecture = metadata.String("general.architecture");
  const Keys keys(metadata, architecture + ".");
  const int num_experts = keys.Int("expert_count", 0);
  const Family& family = FamilyByGguf(architecture, num_experts > 0);
  ModelConfig config;
  config.family = family.name;
  config.query_key_norm = family.query_key_norm;
  config.num_layers = keys.Int("block_count");
  config.model_dim = keys.Int("embedding_length");
  config.num_heads = keys.Int("attention.head_count");
  config.num_kv_heads = keys.Int("attention.head_count_kv", config.num_heads);
  config.head_dim =
      keys.Int("attention.key_length", config.model_dim / std::max(config.num_heads, 1));
  config.vocab_size = facts.vocab_size;
  config.context_length = keys.Int("context_length");
  config.rms_norm_epsilon = static_cast<float>(keys.Number("attention.layer_norm_rms_epsilon"));
  config.tied_embeddings = facts.tied_embeddings;
  const int value_dim = keys.Int("attention.value_length", config.head_dim);
  if (value_dim != config.head_dim) {
    Throw("{}: values of {} beside keys of {} are not supported", keys.where(), value_dim,
          config.head_dim);
  }
  ReadRope(keys, facts, config);
  if (family.experts) {
    config.num_experts = num_experts;
    config.experts_per_token = keys.Int("expert_used_count");
    config.expert_ffn_dim =
        keys.Int("expert_feed_forward_length", keys.Int("feed_forward_length", 0));
  } else {
    config.ffn_dim = keys.Int("feed_forward_length");
  }
  ValidateConfig(config, keys.where());
  return config;
}

}  // namespace doppler
