// What the tokens of a vocabulary that is spelled as text stand for: a list of steps over the
// spelling of one token, and a strip at the beginning of the whole text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "text/normalizer.h"

namespace doppler {

// What a text as a whole loses at its beginning.
struct LeadingStrip {
  std::string character;
  std::size_t most = 0;  // characters

  // How many of them stand at the beginning of `text`, if `done` were stripped before.
  std::size_t Count(std::string_view text, std::size_t done) const;
  // `text` without them.
  std::string_view Apply(std::string_view text) const;
};

struct TokenDecoder {
  std::vector<TextReplacement> replacements;
  bool byte_fallback = false;  // <0x0A> stands for the byte 0x0A
  LeadingStrip strip;

  // The bytes of the token that is spelled `spelling`. Throws Error if they are absurdly many.
  std::string BytesOf(std::string_view spelling) const;
};

}  // namespace doppler
