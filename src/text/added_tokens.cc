#include "text/added_tokens.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "text/utf8.h"

namespace doppler {
namespace {

// Where the character begins that ends right before `end`. REQUIRES: end > 0.
std::size_t PreviousBoundary(std::string_view text, std::size_t end) {
  do {
    --end;
  } while (end > 0 && (ByteAt(text, end) & 0xC0u) == 0x80u);
  return end;
}

bool StandsAlone(std::string_view text, std::size_t begin, std::size_t end) {
  const bool word_before =
      begin > 0 && IsWordCharacter(DecodeUtf8(text, PreviousBoundary(text, begin)).code_point);
  const bool word_after = end < text.size() && IsWordCharacter(DecodeUtf8(text, end).code_point);
  return !word_before && !word_after;
}

std::size_t SkipWhitespaceBack(std::string_view text, std::size_t at, std::size_t stop) {
  while (at > stop) {
    const std::size_t before = PreviousBoundary(text, at);
    if (!IsWhitespace(DecodeUtf8(text, before).code_point)) break;
    at = before;
  }
  return std::max(at, stop);
}

std::size_t SkipWhitespace(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const Utf8Step step = DecodeUtf8(text, at);
    if (!IsWhitespace(step.code_point)) break;
    at += step.length;
  }
  return at;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.content < b.content; });
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    if (token.content.empty()) Throw("added token {} is empty", token.id);
    if (i > 0 && tokens_[i - 1].content == token.content) {
      Throw("added token '{}' is given twice", token.content);
    }
    starts_[ByteAt(token.content, 0)] = true;
  }
}

// Narrows the sorted tokens to those that begin with one more byte of the text each time. A token
// that the text holds whole sorts before all that go on from it.
TokenId AddedTokens::Find(std::string_view content) const {
  const auto found = std::lower_bound(
      tokens_.begin(), tokens_.end(), content,
      [](const AddedToken& token, std::string_view wanted) { return token.content < wanted; });
  return found != tokens_.end() && found->content == content ? found->id : kNoToken;
}

const AddedToken* AddedTokens::LongestAt(std::string_view text, std::size_t at,
                                         bool parse_special) const {
  const AddedToken* longest = nullptr;
  auto first = tokens_.begin();
  auto last = tokens_.end();
  for (std::size_t length = 1; at + length <= text.size(); ++length) {
    const std::uint8_t byte = ByteAt(text, at + length - 1);
    const auto key = [length](const AddedToken& token) {
      return token.content.size() < length ? -1 : int{ByteAt(token.content, length - 1)};
    };
    first = std::partition_point(first, last,
                                 [&](const AddedToken& token) { return key(token) < byte; });
    last = std::partition_point(first, last,
                                [&](const AddedToken& token) { return key(token) <= byte; });
    if (first == last) break;
    if (first->content.size() == length && (parse_special || !first->special)) longest = &*first;
  }
  return longest;
}

void AddedTokens::Split(std::string_view text, bool parse_special, OnText on_text,
                        OnToken on_token) const {
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    const AddedToken* token =
        starts_[ByteAt(text, at)] ? LongestAt(text, at, parse_special) : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t end = at + token->content.size();
    if (token->single_word && !StandsAlone(text, at, end)) {
      at = end;
      continue;
    }
    const std::size_t begin = token->lstrip ? SkipWhitespaceBack(text, at, done) : at;
    if (token->rstrip) end = SkipWhitespace(text, end);
    if (begin > done) on_text(text.substr(done, begin - done));
    on_token(token->id);
    done = end;
    at = end;
  }
  if (done < text.size()) on_text(text.substr(done));
}

}  // namespace doppler
