#include "text/utf8_stream.h"

#include "text/utf8.h"

namespace doppler {

std::string Utf8Stream::Push(std::string_view bytes) {
  pending_ += bytes;
  std::string out;
  std::size_t at = 0;
  while (at < pending_.size()) {
    const std::string_view rest = std::string_view(pending_).substr(at);
    const std::size_t valid = ValidUtf8Prefix(rest);
    out += rest.substr(0, valid);
    at += valid;
    if (at == pending_.size()) break;
    const Utf8Step step = DecodeUtf8(pending_, at);
    if (step.status == Utf8Status::kIncomplete) break;
    out += kReplacementCharacter;
    at += step.length;
  }
  pending_.erase(0, at);
  return out;
}

std::string Utf8Stream::Flush() {
  if (pending_.empty()) return {};
  pending_.clear();
  return std::string(kReplacementCharacter);
}

}  // namespace doppler
