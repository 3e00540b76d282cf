#include "model/families.h"

#include <array>
#include <string>

#include "base/error.h"
#include "model/layer.h"

namespace doppler {
namespace {

constexpr std::array kFamilies = {
    Family{.name = "llama",
           .hub_model_type = "llama",
           .gguf_architecture = "llama",
           .gguf_interleaved_rope = true,
           .layer = TransformerLayer},
    Family{.name = "mixtral",
           .hub_model_type = "mixtral",
           .gguf_architecture = "llama",
           .experts = true,
           .gguf_interleaved_rope = true,
           .layer = TransformerLayer},
    Family{.name = "qwen3",
           .hub_model_type = "qwen3",
           .gguf_architecture = "qwen3",
           .query_key_norm = true,
           .layer = TransformerLayer},
    Family{.name = "qwen3_moe",
           .hub_model_type = "qwen3_moe",
           .gguf_architecture = "qwen3moe",
           .experts = true,
           .query_key_norm = true,
           .layer = TransformerLayer},
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
