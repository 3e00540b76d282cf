// Reads a Hugging Face tokenizer.json as one pass of events: vocabulary and merges, nearly all of
// the file, go straight into their tables, and only the small rest becomes a JSON document.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "text/bpe_model.h"
#include "text/vocabulary.h"

namespace doppler {

// Its move may throw where that of an unordered map may. NOLINTNEXTLINE(bugprone-exception-escape)
struct ParsedTokenizerJson {
  Vocabulary::Builder vocabulary;  // model.vocab; added tokens not yet among it
  MergeList merges;                // model.merges
  nlohmann::json rest;             // an object: everything else
};

// Throws Error for what is not JSON, nests too deep, repeats a key or has an unsound entry. A
// model.vocab that is not an object, as other models have, is left out.
ParsedTokenizerJson ReadTokenizerJson(std::string_view text);

}  // namespace doppler
