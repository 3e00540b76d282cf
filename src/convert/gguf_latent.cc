#include "convert/gguf_latent.h"

#include "base/error.h"

namespace doppler {

void ReadGgufLatentHeads(const GgufModel& model, const GgufKeys& keys, ModelConfig& config) {
  // Files that keep keys and values joined have the sizes of a head under the older names.
  const bool joined = model.tensors().contains("blk.0.attn_kv_b.weight");
  const auto size = [&keys](const char* of_head, const char* older) {
    return keys.Has(of_head) ? keys.Int(of_head) : keys.Int(older);
  };
  config.q_lora_rank = keys.Int("attention.q_lora_rank", 0);
  config.kv_lora_rank = keys.Int("attention.kv_lora_rank");
  config.rope_head_dim = keys.Int("rope.dimension_count");
  config.head_dim = size("attention.key_length_mla", "attention.key_length");
  config.value_head_dim = size("attention.value_length_mla", "attention.value_length");
  config.num_kv_heads = config.num_heads;
  config.split_kv_b = !joined;
}

void ReadGgufLatentRouting(const GgufKeys& keys, ModelConfig& config) {
  constexpr int kSoftmax = 1;
  constexpr int kSigmoid = 2;
  // Files of DeepSeek-V2 name no function.
  const int gating = keys.Int("expert_gating_func", 0);
  if (gating > kSigmoid) {
    Throw("{}: experts are weighed by function {}; supported are {} (softmax) and {} (sigmoid)",
          keys.where(), gating, kSoftmax, kSigmoid);
  }
  if (gating != kSigmoid) {
    config.family = "deepseek_v2";
    config.routing = RoutingKind::kSoftmax;
  }
  config.normalize_expert_weights = keys.Bool("expert_weights_norm", false);
  config.expert_weight_scale = static_cast<float>(keys.Number("expert_weights_scale", 1));
  config.expert_groups = keys.Int("expert_group_count", 1);
  config.expert_groups_used = keys.Int("expert_group_used_count", 1);
  config.shared_ffn_dim = SharedFfnDim(keys.Int("expert_shared_count", 0), config.expert_ffn_dim);
}

// llama.cpp's converter writes a tenth of `mscale_all_dim`, which the models give to the magnitude
// of rotated vectors too, so that this one is 1.
void ReadGgufLatentScale(const GgufKeys& keys, ModelConfig& config) {
  if (keys.String("rope.scaling.type", "none") != "yarn") return;
  config.rope_scaling.magnitude = 1;
  // Rounded back to float, the tenth of 1 is 1 again.
  const auto weight = static_cast<float>(10 * keys.Number("rope.scaling.yarn_log_multiplier", 0));
  const double magnitude = YarnMagnitude(keys.Number("rope.scaling.factor"), double{weight});
  config.attention_scale = static_cast<float>(magnitude * magnitude);
}

}  // namespace doppler
