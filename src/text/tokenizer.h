// Turns text into tokens and back, as a Hugging Face tokenizer.json says.
//
// Supported is BPE over bytes and over characters; docs/text.md lists the parts. A file that asks
// for anything else is refused with an Error that names it. A Tokenizer is immutable: any number of
// threads may use one.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/added_tokens.h"
#include "text/bpe_model.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_decoder.h"
#include "text/vocabulary.h"

namespace doppler {

struct EncodeOptions {
  // Whether to begin with the beginning-of-sequence token; by default what the model says.
  std::optional<bool> add_bos = std::nullopt;
  // Whether special tokens written in the text (<|im_end|>) become those tokens. Text that a
  // stranger wrote should not have that power.
  bool parse_special = true;
};

class Tokenizer {
 public:
  // Of the three files only the first must be there; the others may be empty. `where` names the
  // tokenizer in messages. Throws Error for what is damaged or not supported.
  static Tokenizer FromJson(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                            const std::string& where, std::string_view generation_config_json = {});

  // Any bytes can be encoded. Bytes that are no UTF-8 are split off from the text around them and
  // encoded as they are, so Decode gives them back (unless the vocabulary has no tokens for bytes).
  // Throws Error for a text of more than 1 GiB and for one on which the split pattern needs too
  // much work.
  std::vector<TokenId> Encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The bytes of all tokens, special ones too, one after the other, less the leading strip: not
  // UTF-8 if the tokens end inside a character. An id without a token stands for nothing. See
  // TokenStream for tokens that come one by one.
  std::string Decode(std::span<const TokenId> tokens) const;
  // Lives as long as the tokenizer.
  std::string_view TokenBytes(TokenId id) const {
    return decoded_.size() > 0 ? decoded_.Bytes(id) : vocabulary_.Bytes(id);
  }
  // What the decoded text loses at its beginning: the space before its first word, in some.
  const LeadingStrip& leading_strip() const { return leading_strip_; }

  // Number of ids; a model's logits may have more, padded to a round number.
  std::size_t vocab_size() const { return vocabulary_.size(); }
  std::optional<TokenId> bos_id() const { return bos_id_; }
  // Every token that ends a text, sorted; empty if the files name none.
  const std::vector<TokenId>& eos_ids() const { return eos_ids_; }
  bool IsEos(TokenId id) const;
  // Special tokens structure a text and are not shown to its reader.
  bool IsSpecial(TokenId id) const;
  bool adds_bos() const { return adds_bos_; }
  // The added token, special or not, that is written as `text`, or kNoToken.
  TokenId AddedTokenId(std::string_view text) const;
  // The Jinja source, or empty.
  const std::string& chat_template() const { return chat_template_; }

 private:
  friend class TokenizerLoader;
  struct Work;

  Tokenizer() = default;
  void EncodeNormalized(std::string_view text, bool first, const EncodeOptions& options,
                        Work* work) const;
  void EncodeText(std::string_view text, bool first, Work* work) const;

  Vocabulary vocabulary_;
  TokenTable decoded_;  // what the tokens stand for, where that is not how the vocabulary has them
  BpeModel model_;
  AddedTokens raw_added_;             // searched for before normalisation
  AddedTokens normalized_added_;      // and after it
  std::vector<TokenId> special_ids_;  // sorted
  Normalizer normalizer_;
  LeadingStrip leading_strip_;
  PreTokenizer pre_tokenizer_;
  std::vector<TokenId> prefix_;  // what stands before a text when a beginning is wanted
  bool adds_bos_ = false;
  std::optional<TokenId> bos_id_;
  std::vector<TokenId> eos_ids_;
  std::string chat_template_;
};

}  // namespace doppler
