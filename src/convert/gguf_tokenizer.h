// The tokenizer files that a GGUF's metadata stands for.
#pragma once

#include <vector>

#include "convert/checkpoint.h"
#include "format/gguf.h"

namespace doppler {

bool HasVocabulary(const GgufMetadata& metadata);

// tokenizer.json, tokenizer_config.json and generation_config.json. Throws Error for a vocabulary
// that is missing or of a kind that is not supported.
std::vector<TextFile> TokenizerFilesFromGguf(const GgufMetadata& metadata);

}  // namespace doppler
