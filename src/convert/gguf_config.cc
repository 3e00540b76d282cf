// The model's configuration from a GGUF's metadata, in llama.cpp's keys.
#include "base/error.h"
#include "convert/checkpoint.h"
#include "convert/gguf_keys.h"
#include "convert/gguf_latent.h"
#include "convert/gguf_rope.h"
#include "model/families.h"

namespace doppler {
namespace {

bool HasTensor(const GgufModel& model, const std::string& name) {
  return model.tensors().contains(name);
}

void ReadExperts(const GgufModel& model, const GgufKeys& keys, ModelConfig& config) {
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

void RefuseUnsupported(const GgufKeys& keys, const ModelConfig& config) {
  if (config.IsLatent()) return;  // all of these sizes are read
  keys.Require("rope.dimension_count", keys.Int("rope.dimension_count", config.RotaryDim()),
               config.RotaryDim());
  keys.Require("attention.value_length", keys.Int("attention.value_length", config.head_dim),
               config.head_dim);
}

// Whether each layer sees only the last positions: the pattern lists it, or all but the last of
// every `pattern` layers do, or the family's name implies it.
std::vector<bool> WindowedLayers(const GgufKeys& keys, const Family& family, int num_layers) {
  constexpr const char* kPattern = "attention.sliding_window_pattern";
  std::vector<bool> windowed(static_cast<std::size_t>(num_layers));
  if (keys.IsList(kPattern)) {
    const std::vector<std::int64_t> listed = keys.Integers(kPattern);
    if (listed.size() != windowed.size()) {
      Throw("{}: '{}' has {} entries for {} layers", keys.where(), kPattern, listed.size(),
            num_layers);
    }
    for (std::size_t i = 0; i < listed.size(); ++i) windowed[i] = listed[i] != 0;
    return windowed;
  }
  const int every = keys.Int(kPattern, -1);
  for (int layer = 0; layer < num_layers; ++layer) {
    windowed[static_cast<std::size_t>(layer)] = every < 0 ? layer % family.traits.window_every == 0
                                                          : every == 0 || layer % every < every - 1;
  }
  return windowed;
}

void ReadWindows(const GgufKeys& keys, const Family& family, ModelConfig& config) {
  const int window = keys.Int("attention.sliding_window", 0);
  if (window == 0 || window >= config.context_length) return;
  for (const bool windowed : WindowedLayers(keys, family, config.num_layers)) {
    config.layer_windows.push_back(windowed ? window : 0);
  }
}

}  // namespace

ModelConfig ConfigFromGguf(const GgufModel& model) {
  const GgufKeys keys(model);
  const bool experts = keys.Int("expert_count", 0) > 0;
  const Family& family =
      FamilyByGguf(model.metadata().String("general.architecture"), experts, keys.where());
  ModelConfig config = StartConfig(family);
  // Layers that predict tokens further ahead are the last, and left out.
  config.num_layers = keys.Int("block_count") - keys.Int("nextn_predict_layers", 0);
  config.model_dim = keys.Int("embedding_length");
  config.num_heads = keys.Int("attention.head_count");
  config.num_kv_heads = keys.Int("attention.head_count_kv", config.num_heads);
  if (config.num_heads == 0) Throw("{}: the number of heads is 0", keys.where());
  config.head_dim = keys.Int("attention.key_length", config.model_dim / config.num_heads);
  if (family.traits.latent_attention) ReadGgufLatentHeads(model, keys, config);
  config.vocab_size = VocabSize(model);
  config.context_length = keys.Int("context_length");
  config.norm_epsilon = static_cast<float>(keys.Number("attention.layer_norm_rms_epsilon"));
  config.tied_embeddings = !HasTensor(model, "output.weight");
  config.head_bias = HasTensor(model, "output.bias");
  config.attention_bias = config.attention_bias || (HasTensor(model, "blk.0.attn_q.bias") &&
                                                    HasTensor(model, "blk.0.attn_output.bias"));
  // Checked before the layer count and head size bound the loops below.
  if (config.num_layers > 4096 || config.head_dim > 4096) ValidateConfig(config, keys.where());
  RefuseUnsupported(keys, config);
  ReadGgufRope(model, keys, family, config);
  if (family.traits.latent_attention) ReadGgufLatentScale(keys, config);
  ReadWindows(keys, family, config);
  if (family.experts) ReadExperts(model, keys, config);
  if (family.traits.latent_attention) ReadGgufLatentRouting(keys, config);
  if (config.NumMoeLayers() < config.num_layers) config.ffn_dim = keys.Int("feed_forward_length");
  ValidateConfig(config, keys.where());
  return config;
}

}  // namespace doppler
