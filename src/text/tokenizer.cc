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
  while (!text.empty()) {
    const std::size_t valid = ValidUtf8Prefix(text);
    EncodeValid(text.substr(0, valid), options, &work);
    text.remove_prefix(valid);
    std::size_t invalid = 0;
    while (invalid < text.size()) {
      const Utf8Step step = DecodeUtf8(text, invalid);
      if (step.status == Utf8Status::kValid) break;
      invalid += step.length;
    }
    model_.Encode(vocabulary_, text.substr(0, invalid), &work.bpe, &work.out);
    text.remove_prefix(invalid);
  }
  return std::move(work.out);
}

void Tokenizer::EncodeValid(std::string_view text, const EncodeOptions& options, Work* work) const {
  const auto on_text = [&](std::string_view part) {
    if (nfc_) {
      EncodeNormalized(NormalizeNfc(part), options, work);
    } else {
      EncodeNormalized(part, options, work);
    }
  };
  const auto on_token = [&](TokenId id) { work->out.push_back(id); };
  raw_added_.Split(text, options.parse_special, on_text, on_token);
}

void Tokenizer::EncodeNormalized(std::string_view text, const EncodeOptions& options,
                                 Work* work) const {
  const auto on_word = [&](std::string_view word) {
    model_.Encode(vocabulary_, word, &work->bpe, &work->out);
  };
  const auto on_text = [&](std::string_view part) {
    pre_tokenizer_.Split(part, &work->match, on_word);
  };
  const auto on_token = [&](TokenId id) { work->out.push_back(id); };
  normalized_added_.Split(text, options.parse_special, on_text, on_token);
}

std::string Tokenizer::Decode(std::span<const TokenId> tokens) const {
  std::string out;
  for (const TokenId token : tokens) out += TokenBytes(token);
  return out;
}

bool Tokenizer::IsEos(TokenId id) const {
  return std::binary_search(eos_ids_.begin(), eos_ids_.end(), id);
}

bool Tokenizer::IsSpecial(TokenId id) const {
  return std::binary_search(special_ids_.begin(), special_ids_.end(), id);
}

}  // namespace doppler
