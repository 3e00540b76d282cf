// The vocabulary of a GGUF that is written for a model of random weights.
#pragma once

#include <filesystem>

#include "format/gguf_builder.h"

namespace doppler {

// Adds the vocabulary of a folder's tokenizer.json, which must be byte-level BPE, filled up with
// tokens that no text has to `vocab_size`, which llama.cpp wants to be the number of tokens. An
// empty path stands for a vocabulary of the 256 bytes. Throws Error for another kind of tokenizer,
// and for one of more tokens.
void AddGgufTokens(const std::filesystem::path& folder, int vocab_size, GgufBuilder& builder);

}  // namespace doppler
