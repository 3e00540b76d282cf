#include "text/tokenizer.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/error.h"
#include "text/utf8.h"

namespace doppler {
namespace {

// Positions in a word are 32 bits wide, and no context is near as long.
constexpr Bytes kMaxText = kGiB;

}  // namespace

struct Tokenizer::Work {
  std::vector<TokenId> out;
  MatchScratch match;
  BpeScratch bpe;
};

std::vector<TokenId> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  if (text.size() > kMaxText) {
    Throw("a text of {} cannot be encoded at once; {} is the most", FormatSize(text.size()),
          FormatSize(kMaxText));
  }
  Work work;
  if (options.add_bos.value_or(adds_bos_)) {
    if (prefix_.empty()) Throw("the tokenizer names no beginning-of-sequence token to add");
    work.out = prefix_;
  }
  const auto on_text = [&](std::string_view part) {
    const bool first = part.data() == text.data();
    if (normalizer_.empty()) {
      EncodeNormalized(part, first, options, &work);
    } else {
      EncodeNormalized(normalizer_.Apply(part), first, options, &work);
    }
  };
  const auto on_token = [&](TokenId id) { work.out.push_back(id); };
  raw_added_.Split(text, options.parse_special, on_text, on_token);
  return std::move(work.out);
}

void Tokenizer::EncodeNormalized(std::string_view text, bool first, const EncodeOptions& options,
                                 Work* work) const {
  const auto on_text = [&](std::string_view part) {
    EncodeText(part, first && part.data() == text.data(), work);
  };
  const auto on_token = [&](TokenId id) { work->out.push_back(id); };
  normalized_added_.Split(text, options.parse_special, on_text, on_token);
}

void Tokenizer::EncodeText(std::string_view text, bool first, Work* work) const {
  const auto on_word = [&](std::string_view word) {
    model_.Encode(vocabulary_, word, &work->bpe, &work->out);
  };
  if (!pre_tokenizer_.NeedsUtf8()) return pre_tokenizer_.Split(text, first, &work->match, on_word);
  for (bool begins = first; !text.empty(); begins = false) {
    const std::size_t valid = ValidUtf8Prefix(text);
    pre_tokenizer_.Split(text.substr(0, valid), begins, &work->match, on_word);
    text.remove_prefix(valid);
    const std::size_t invalid = InvalidUtf8Prefix(text);
    if (invalid > 0) on_word(text.substr(0, invalid));
    text.remove_prefix(invalid);
  }
}

std::string Tokenizer::Decode(std::span<const TokenId> tokens) const {
  std::string out;
  for (const TokenId token : tokens) out += TokenBytes(token);
  out.erase(0, out.size() - leading_strip_.Apply(out).size());
  return out;
}

bool Tokenizer::IsEos(TokenId id) const {
  return std::binary_search(eos_ids_.begin(), eos_ids_.end(), id);
}

bool Tokenizer::IsSpecial(TokenId id) const {
  return std::binary_search(special_ids_.begin(), special_ids_.end(), id);
}

TokenId Tokenizer::AddedTokenId(std::string_view text) const {
  const TokenId id = raw_added_.Find(text);
  return id != kNoToken ? id : normalized_added_.Find(text);
}

}  // namespace doppler
