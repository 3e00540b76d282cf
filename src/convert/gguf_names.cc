#include "convert/gguf_names.h"

#include <map>

#include <fmt/format.h>

#include "base/error.h"
#include "convert/checkpoint.h"

namespace doppler {
namespace {

// GGUF's word for a part of a layer, named without "layers.L." and the number of an expert.
const std::map<std::string_view, std::string_view> kLayerParts = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.sinks", "attn_sinks"},
    {"self_attn.q_a_proj", "attn_q_a"},
    {"self_attn.q_a_layernorm", "attn_q_a_norm"},
    {"self_attn.q_b_proj", "attn_q_b"},
    {"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"},
    {"self_attn.kv_a_layernorm", "attn_kv_a_norm"},
    {"self_attn.kv_b_proj", "attn_kv_b"},
    {"self_attn.k_b_proj", "attn_k_b"},
    {"self_attn.v_b_proj", "attn_v_b"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate", "ffn_gate_inp"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate.e_score_correction", "exp_probs_b"},
    {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
    {"mlp.shared_experts.down_proj", "ffn_down_shexp"},
    {"mlp.experts.gate_proj", "ffn_gate_exps"},
    {"mlp.experts.up_proj", "ffn_up_exps"},
    {"mlp.experts.down_proj", "ffn_down_exps"},
};
const std::map<std::string_view, std::string_view> kOtherParts = {
    {"embed_tokens", "token_embd"},
    {"norm", "output_norm"},
    {"lm_head", "output"},
};
constexpr std::string_view kStacked = "_exps";

}  // namespace

std::string GgufName::Full(std::string_view other) const {
  return fmt::format("{}{}{}", block, other, kind);
}

std::optional<std::string_view> GgufName::Synonym() const {
  if (word == "ffn_norm") return "post_attention_norm";
  return std::nullopt;
}

std::string_view GgufName::WordOfOne() const {
  DOPPLER_CHECK(word.ends_with(kStacked));
  return word.substr(0, word.size() - kStacked.size());
}

GgufName GgufNameOf(const TensorSpec& spec) {
  std::string part = spec.name;
  const bool bias = part.ends_with("bias");
  for (const std::string_view kind : {"_bias", ".bias", ".weight"}) {
    if (part.ends_with(kind)) part.resize(part.size() - kind.size());
  }
  const auto remove = [&part](const std::string& text) {
    part.replace(part.find(text), text.size(), "");
  };
  if (spec.layer >= 0) remove(fmt::format("layers.{}.", spec.layer));
  if (spec.expert >= 0) remove(fmt::format(".{}", spec.expert));
  return {.block = spec.layer < 0 ? "" : fmt::format("blk.{}.", spec.layer),
          .word = (spec.layer < 0 ? kOtherParts : kLayerParts).at(part),
          .kind = bias ? ".bias" : ".weight"};
}

bool IsInterleavedInGguf(const TensorSpec& spec, const Family& family) {
  const std::string_view part = PartOf(spec.name);
  return family.gguf_interleaved_rope && (part == "q_proj" || part == "k_proj");
}

}  // namespace doppler
