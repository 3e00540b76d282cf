// Tokens that are found in the text as they stand, before it is split into words: <|im_start|> and
// the like. Immutable once filled and sorted, safe for concurrent use.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/ids.h"
#include "text/vocabulary.h"

namespace doppler {

struct AddedToken {
  std::string content;  // not empty
  TokenId id = 0;
  bool special = false;
  bool normalized = false;   // searched for in the normalised text, not in the text as given
  bool single_word = false;  // only where no word character stands right before or after
  bool lstrip = false;       // swallows the whitespace before it
  bool rstrip = false;       // swallows the whitespace after it
};

class AddedTokens {
 public:
  AddedTokens() = default;
  // Throws Error if a token is empty or given twice.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }

  // The id of the token `content`, or kNoToken.
  TokenId Find(std::string_view content) const;

  using OnText = FunctionRef<void(std::string_view)>;
  using OnToken = FunctionRef<void(TokenId)>;
  // Walks through `text` from left to right: the first token to begin wins, of several that begin
  // there the longest. Special tokens count as text unless `parse_special`. Empty stretches of
  // text are left out.
  void Split(std::string_view text, bool parse_special, OnText on_text, OnToken on_token) const;

 private:
  const AddedToken* LongestAt(std::string_view text, std::size_t at, bool parse_special) const;

  std::vector<AddedToken> tokens_;  // sorted by content
  std::array<bool, 256> starts_{};  // whether a token begins with that byte
};

}  // namespace doppler
