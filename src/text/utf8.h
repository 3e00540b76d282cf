// UTF-8 and Unicode as the tokenizer needs them: strict decoding, character classes and
// normalisation form C. Functions only, safe for concurrent use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace doppler {

enum class Utf8Status : std::uint8_t {
  kValid,       // a whole, well-formed sequence
  kInvalid,     // bytes that no continuation could repair
  kIncomplete,  // a sequence that the end of the text cut off
};

// What stands at one place of a text. For kInvalid `length` is that of the maximal subpart (The
// Unicode Standard, 3.9), which one U+FFFD replaces; for kIncomplete it is all that is left.
struct Utf8Step {
  Utf8Status status = Utf8Status::kInvalid;
  char32_t code_point = 0;  // U+FFFD unless kValid
  std::uint8_t length = 1;  // bytes
};

// REQUIRES: at < text.size().
inline std::uint8_t ByteAt(std::string_view text, std::size_t at) {
  return static_cast<std::uint8_t>(text[at]);
}

// REQUIRES: at < text.size().
Utf8Step DecodeUtf8(std::string_view text, std::size_t at);

// The length of the longest prefix of `text` that is valid UTF-8.
std::size_t ValidUtf8Prefix(std::string_view text);
// The length of the longest prefix that holds no valid sequence.
std::size_t InvalidUtf8Prefix(std::string_view text);

// REQUIRES: a code point that UTF-8 can express.
void AppendUtf8(char32_t code_point, std::string* out);

// Letters, marks, decimal digits and connecting punctuation: what \w matches.
bool IsWordCharacter(char32_t code_point);
// The White_Space property: what \s matches.
bool IsWhitespace(char32_t code_point);

// Unicode normalisation form C, in time linear in the text but for the sorting of runs of marks.
// REQUIRES: `text` is valid UTF-8.
std::string NormalizeNfc(std::string_view text);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD
// U+2581, which SentencePiece writes for a space.
inline constexpr std::string_view kMetaspace = "\xE2\x96\x81";

}  // namespace doppler
