// The vocabulary that a GGUF file carries in its metadata, and how to write it as the files that
// Hugging Face models have beside them, so that an artifact has one tokenizer format and there is
// one way to load it.
//
// What a GGUF cannot say comes from elsewhere: the split pattern, and Qwen's NFC normalisation,
// from the pattern's name (see split_rules.h), Phi's whitespace after special tokens from the
// architecture.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"

namespace doppler {

// One member for each key under tokenizer.ggml. that matters here.
struct GgufVocabulary {
  std::string architecture;               // general.architecture, without tokenizer.ggml.
  std::string model;                      // "gpt2" is byte-level BPE, "llama" SentencePiece's BPE
  std::string pre;                        // name of the split pattern, for gpt2
  std::vector<std::string> tokens;        // [vocabulary], for gpt2 in the byte alphabet
  std::vector<double> scores;             // [vocabulary], finite, for llama
  std::vector<std::int32_t> token_types;  // [vocabulary], or empty: all are normal
  std::vector<std::string> merges;        // "left right", for gpt2
  bool add_space_prefix = true;           // for llama: a text begins as if after a space
  std::optional<TokenId> bos_id;
  std::optional<TokenId> eos_id;
  std::optional<TokenId> pad_id;
  std::optional<TokenId> unknown_id;
  std::optional<TokenId> eot_id;  // ends a turn, where that is not eos_id
  std::optional<bool> add_bos;
  std::string chat_template;
};

// tokenizer.json, tokenizer_config.json and generation_config.json (which can name several tokens
// that end a text). Throw Error, naming it, for a model, pattern or token type that is not
// supported and for an id without a token.
std::string TokenizerJson(const GgufVocabulary& vocabulary);
std::string TokenizerConfigJson(const GgufVocabulary& vocabulary);
std::string GenerationConfigJson(const GgufVocabulary& vocabulary);

}  // namespace doppler
