#include "text/jinja/string_literal.h"

#include <charconv>

#include "text/jinja/lexer.h"
#include "text/utf8.h"

namespace doppler::jinja {
namespace {

// Digits of a number in `base`, at most `most`.
std::size_t DigitRun(std::string_view text, int base, std::size_t most) {
  std::size_t count = 0;
  while (count < most && count < text.size()) {
    unsigned value = 0;
    const char* const digit = text.data() + count;
    if (std::from_chars(digit, digit + 1, value, base).ptr == digit) break;
    ++count;
  }
  return count;
}

class Unescaper {
 public:
  Unescaper(std::string_view text, int line) : text_(text), line_(line) {}

  std::string Run() {
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c != '\\' || at_ >= text_.size()) {
        out_ += c;
      } else {
        Escape(text_[at_++]);
      }
    }
    return std::move(out_);
  }

 private:
  void Escape(char c) {
    constexpr std::string_view kLetters = "abfnrtv\\'\"";
    constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";
    if (const std::size_t letter = kLetters.find(c); letter != std::string_view::npos) {
      out_ += kMeanings[letter];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      constexpr std::size_t kLong = 8;
      Number(16, c == 'x' ? 2 : c == 'u' ? 4 : kLong, true);
    } else if (c >= '0' && c <= '7') {
      --at_;
      Number(8, 3, false);
    } else if (c != '\n') {
      out_ += '\\';
      out_ += c;
    }
  }

  void Number(int base, std::size_t digits, bool exact) {
    const std::size_t found = DigitRun(text_.substr(at_), base, digits);
    if (exact && found < digits) ThrowAtLine(line_, "a string's escape needs more digits");
    std::uint32_t code_point = 0;
    std::from_chars(text_.data() + at_, text_.data() + at_ + found, code_point, base);
    at_ += found;
    constexpr std::uint32_t kLast = 0x10FFFF;
    if (code_point > kLast || (code_point >= 0xD800 && code_point <= 0xDFFF)) {
      ThrowAtLine(line_, "a string's escape is no character");
    }
    AppendUtf8(code_point, &out_);
  }

  std::string_view text_;
  int line_;
  std::size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string UnescapeString(std::string_view text, int line) { return Unescaper(text, line).Run(); }

}  // namespace doppler::jinja
