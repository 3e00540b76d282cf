// Reads the components of a tokenizer.json. Each throws Error that names what it is when it is
// damaged or not supported; docs/text.md lists what is.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "format/json.h"
#include "text/added_tokens.h"
#include "text/bpe_model.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_decoder.h"

namespace doppler {

struct ModelPart {
  BpeOptions options;         // without spelling and unknown
  std::string unknown_token;  // or empty
};
ModelPart ReadModel(const JsonReader& model);

Normalizer ReadNormalizer(const std::optional<JsonReader>& component);

struct PreTokenizerPart {
  PreTokenizer pre_tokenizer;
  bool byte_level = false;  // the words are spelled in the byte alphabet
};
PreTokenizerPart ReadPreTokenizer(const std::optional<JsonReader>& component);

struct DecoderPart {
  TokenDecoder decoder;
  bool byte_level = false;  // tokens are spelled in the byte alphabet; `decoder` is empty
};
DecoderPart ReadDecoder(const std::optional<JsonReader>& component);

// A token id; throws Error if it is none.
TokenId ReadTokenId(const JsonReader& value);

// All but the id, which an entry of added_tokens has and one of added_tokens_decoder does not.
AddedToken ReadAddedToken(const JsonReader& entry);
std::vector<AddedToken> ReadAddedTokens(const JsonReader& list);

// The ids that the post-processor puts before a text.
std::vector<TokenId> ReadPostProcessor(const std::optional<JsonReader>& component);

}  // namespace doppler
