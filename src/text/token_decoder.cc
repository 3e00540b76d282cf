#include "text/token_decoder.h"

#include <array>
#include <optional>

namespace doppler {
namespace {

// A few replacements must not fill the memory.
constexpr std::size_t kMostGrowth = 16;
constexpr std::size_t kAlwaysDecoded = 64;

std::optional<unsigned> HexDigit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10;
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
  return std::nullopt;
}

// The byte that "<0x0A>" names.
std::optional<char> NamedByte(std::string_view spelling) {
  if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling.back() != '>') return {};
  const auto high = HexDigit(spelling[3]);
  const auto low = HexDigit(spelling[4]);
  if (!high || !low) return {};
  return static_cast<char>(*high << 4 | *low);
}

}  // namespace

std::string TokenDecoder::BytesOf(std::string_view spelling) const {
  const std::size_t most = kMostGrowth * spelling.size() + kAlwaysDecoded;
  std::string out(spelling);
  for (const TextReplacement& replacement : replacements) {
    out = ReplaceAll(out, replacement, most);
  }
  if (byte_fallback) {
    if (const auto byte = NamedByte(out)) return {*byte};
  }
  return out;
}

std::size_t LeadingStrip::Count(std::string_view text, std::size_t done) const {
  std::size_t count = 0;
  while (done + count < most && text.substr(count * character.size()).starts_with(character)) {
    ++count;
  }
  return count;
}

std::string_view LeadingStrip::Apply(std::string_view text) const {
  return text.substr(Count(text, 0) * character.size());
}

}  // namespace doppler
