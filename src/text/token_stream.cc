#include "text/token_stream.h"

namespace doppler {

std::string TokenStream::Push(TokenId token) {
  std::string_view bytes = tokenizer_.TokenBytes(token);
  if (begins_) {
    const LeadingStrip& strip = tokenizer_.leading_strip();
    const std::size_t count = strip.Count(bytes, stripped_);
    stripped_ += count;
    bytes.remove_prefix(count * strip.character.size());
    begins_ = bytes.empty();
  }
  return utf8_.Push(bytes);
}

}  // namespace doppler
