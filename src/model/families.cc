#include "model/families.h"

#include <array>
#include <string>

#include "base/error.h"
#include "model/latent_layer.h"
#include "model/layer.h"

namespace doppler {
namespace {

constexpr FamilyTraits kQwen3 = {.query_key_norm = true};
constexpr FamilyTraits kGptOss = {.attention_bias = true,
                                  .attention_sinks = true,
                                  .router_bias = true,
                                  .expert_bias = true,
                                  .truncate_yarn = false,
                                  .swiglu_limit = 7,
                                  .window_every = 2};
constexpr FamilyTraits kPhiMoe = {.norm = NormKind::kLayer,
                                  .routing = RoutingKind::kSparseMixer,
                                  .attention_bias = true,
                                  .router_jitter = 0.01F};
constexpr FamilyTraits kDeepSeekV2 = {.latent_attention = true};
constexpr FamilyTraits kDeepSeek = {
    .routing = RoutingKind::kSigmoid, .latent_attention = true, .prediction_layers = true};

constexpr std::array kFamilies = {
    Family{.name = "llama",
           .hub_model_type = "llama",
           .gguf_architecture = "llama",
           .traits = {},
           .gguf_interleaved_rope = true,
           .layer = TransformerLayer},
    Family{.name = "mistral",
           .hub_model_type = "mistral",
           .gguf_architecture = "llama",
           .traits = {},
           .gguf_interleaved_rope = true,
           .layer = TransformerLayer},
    Family{.name = "mixtral",
           .hub_model_type = "mixtral",
           .gguf_architecture = "llama",
           .experts = true,
           .traits = {},
           .gguf_interleaved_rope = true,
           .layer = TransformerLayer},
    Family{.name = "qwen3",
           .hub_model_type = "qwen3",
           .gguf_architecture = "qwen3",
           .traits = kQwen3,
           .layer = TransformerLayer},
    Family{.name = "qwen3_moe",
           .hub_model_type = "qwen3_moe",
           .gguf_architecture = "qwen3moe",
           .experts = true,
           .traits = kQwen3,
           .layer = TransformerLayer},
    Family{.name = "gpt_oss",
           .hub_model_type = "gpt_oss",
           .gguf_architecture = "gpt-oss",
           .experts = true,
           .traits = kGptOss,
           .hub_columns_of_experts = true,
           .layer = TransformerLayer},
    Family{.name = "phimoe",
           .hub_model_type = "phimoe",
           .gguf_architecture = "phimoe",
           .experts = true,
           .traits = kPhiMoe,
           .layer = TransformerLayer},
    Family{.name = "deepseek_v3",
           .hub_model_type = "deepseek_v3",
           .gguf_architecture = "deepseek2",
           .experts = true,
           .traits = kDeepSeek,
           .layer = LatentLayer},
    Family{.name = "deepseek_v2",
           .hub_model_type = "deepseek_v2",
           .gguf_architecture = "deepseek2",
           .experts = true,
           .traits = kDeepSeekV2,
           .layer = LatentLayer},
    Family{.name = "kimi_k2",
           .hub_model_type = "kimi_k2",
           .gguf_architecture = "deepseek2",
           .experts = true,
           .traits = kDeepSeek,
           .layer = LatentLayer},
};

template <typename Predicate>
const Family& Find(std::string_view wanted, std::string_view Family::*name, std::string_view where,
                   Predicate matches) {
  for (const Family& family : kFamilies) {
    if (family.*name == wanted && matches(family)) return family;
  }
  std::string known;
  for (const Family& family : kFamilies) {
    if (known.find(family.*name) != std::string::npos) continue;
    known += (known.empty() ? "" : ", ") + std::string(family.*name);
  }
  Throw("{}: the model family '{}' is not supported; supported are {}", where, wanted, known);
}

constexpr auto kAny = [](const Family&) { return true; };

}  // namespace

std::span<const Family> Families() { return kFamilies; }

ModelConfig StartConfig(const Family& family) {
  ModelConfig config;
  const FamilyTraits& traits = family.traits;
  config.family = family.name;
  config.norm = traits.norm;
  config.routing = traits.routing;
  config.query_key_norm = traits.query_key_norm;
  config.attention_bias = traits.attention_bias;
  config.attention_sinks = traits.attention_sinks;
  config.router_bias = traits.router_bias;
  config.expert_bias = traits.expert_bias;
  config.rope_interleaved = traits.latent_attention;
  config.swiglu_limit = traits.swiglu_limit;
  config.router_jitter = traits.router_jitter;
  return config;
}

const Family& FamilyByName(std::string_view name, std::string_view where) {
  return Find(name, &Family::name, where, kAny);
}

const Family& FamilyByHubType(std::string_view model_type, std::string_view where) {
  return Find(model_type, &Family::hub_model_type, where, kAny);
}

const Family& FamilyByGguf(std::string_view architecture, bool experts, std::string_view where) {
  return Find(architecture, &Family::gguf_architecture, where,
              [experts](const Family& family) { return family.experts == experts; });
}

}  // namespace doppler
