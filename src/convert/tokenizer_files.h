// The tokenizer of a model, wherever it comes from.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "convert/checkpoint.h"
#include "text/tokenizer.h"

namespace doppler {

// The tokenizer files of a hub folder or an artifact. A tiktoken.model without a tokenizer.json
// beside it is rewritten as one. Throws Error if there is neither, unless that is allowed.
std::vector<TextFile> ReadTokenizerFiles(const std::filesystem::path& folder, bool allow_missing);

// The tokenizer of a GGUF file, or of a folder with tokenizer files: a hub checkpoint's or an
// artifact's. Throws Error for what is missing, damaged or not supported.
Tokenizer OpenTokenizer(const std::filesystem::path& path);

}  // namespace doppler
