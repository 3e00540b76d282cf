// Turns a stream of token bytes into text that can be shown.
//
// A token may end in the middle of a character. The stream gives out only whole UTF-8 sequences,
// holds an unfinished one back, and puts U+FFFD in place of what can never become one. What comes
// out does not depend on how the bytes were cut. One stream serves one text and one thread.
#pragma once

#include <string>
#include <string_view>

namespace doppler {

class Utf8Stream {
 public:
  // Takes `bytes` and returns what is now certain: valid UTF-8, possibly empty.
  std::string Push(std::string_view bytes);
  // Ends the text: an unfinished sequence becomes U+FFFD. The stream can be used again.
  std::string Flush();

 private:
  std::string pending_;  // at most three bytes between calls
};

}  // namespace doppler
