// Reads the components of a tokenizer.json. Each throws Error that names what it is when it is
// damaged or not supported; docs/text.md lists what is.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/ids.h"
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
ModelPart ReadModel(const nlohmann::json& model);

Normalizer ReadNormalizer(const nlohmann::json& component);

struct PreTokenizerPart {
  PreTokenizer pre_tokenizer;
  bool byte_level = false;  // the words are spelled in the byte alphabet
};
PreTokenizerPart ReadPreTokenizer(const nlohmann::json& component);

struct DecoderPart {
  TokenDecoder decoder;
  bool byte_level = false;  // tokens are spelled in the byte alphabet; `decoder` is empty
};
DecoderPart ReadDecoder(const nlohmann::json& component);

std::vector<AddedToken> ReadAddedTokens(const nlohmann::json& list);

// The ids that the post-processor puts before a text.
std::vector<TokenId> ReadPostProcessor(const nlohmann::json& component);

}  // namespace doppler
