// Turns tokens, as they come, into text that can be shown.
//
//   <0xE6> <0x97> <0xA5> ▁is   gives   "", "", "日", " is"
//
// Holds back what is not yet a whole character, and loses the space with which a text begins where
// the vocabulary puts one before each word. What comes out together does not depend on where it
// was cut. One stream serves one text and one thread.
#pragma once

#include <string>

#include "base/ids.h"
#include "text/tokenizer.h"
#include "text/utf8_stream.h"

namespace doppler {

class TokenStream {
 public:
  // `tokenizer` outlives the stream. `continues`: the text goes on from one that was shown before,
  // so its first space counts.
  TokenStream(const Tokenizer& tokenizer, bool continues)
      : tokenizer_(tokenizer), begins_(!continues) {}

  // What is now certain: valid UTF-8, possibly empty. Special tokens are shown as others are; leave
  // them out if they should not be.
  std::string Push(TokenId token);
  // Ends the text: what is left of an unfinished character becomes U+FFFD.
  std::string Flush() { return utf8_.Flush(); }

 private:
  const Tokenizer& tokenizer_;
  bool begins_;  // nothing has been shown but what was stripped
  std::size_t stripped_ = 0;
  Utf8Stream utf8_;
};

}  // namespace doppler
