// The names that files of an artifact can have, beside those of sidecars and caches, which every
// machine makes for itself.
#pragma once

#include <array>
#include <string_view>

namespace doppler {

inline constexpr std::string_view kManifestFile = "manifest.json";
// While a model is fetched: until all that the manifest promises to every reader is there.
inline constexpr std::string_view kUnfinishedManifest = "manifest.json.partial";

inline constexpr std::array<std::string_view, 5> kTokenizerFiles = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json",
    "chat_template.jinja"};

}  // namespace doppler
