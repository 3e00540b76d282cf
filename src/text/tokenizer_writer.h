// Writes a tokenizer.json, for vocabularies that come in other forms, so that there is one way to
// load them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/ids.h"
#include "text/added_tokens.h"
#include "text/bpe_model.h"

namespace doppler {

// NOLINTNEXTLINE(bugprone-exception-escape): moving JSON does not throw
struct TokenizerDocument {
  std::vector<AddedToken> added_tokens;
  nlohmann::ordered_json normalizer;  // null if there is none, as the next
  nlohmann::ordered_json pre_tokenizer;
  nlohmann::ordered_json decoder;
  BpeOptions options;                                            // without spelling and unknown
  std::string unknown_token;                                     // or empty
  std::vector<std::pair<std::string_view, TokenId>> vocabulary;  // as it is spelled
  std::vector<std::pair<std::string_view, std::string_view>> merges;
};

// Throws Error for a token that is not valid UTF-8.
std::string WriteTokenizerJson(const TokenizerDocument& document);

// The pre-tokenizer that splits with each of `patterns` in turn and spells words in the byte
// alphabet, and the decoder that goes with it.
nlohmann::ordered_json ByteLevelPreTokenizer(const std::vector<std::string_view>& patterns);
nlohmann::ordered_json ByteLevelDecoder();

// The merges of a vocabulary that is given in the order of its tokens' ranks: for each token every
// pair of tokens that makes it, by their ids, as Hugging Face's converters list them. `tokens` is
// indexed by id; `order` names those that take part. The result views `tokens`. Throws Error for a
// token that is absurdly long.
std::vector<std::pair<std::string_view, std::string_view>> MergesOfTokens(
    const std::vector<std::string>& tokens, const std::vector<TokenId>& order);

}  // namespace doppler
