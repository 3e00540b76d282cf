#include "text/jinja/python_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <utf8proc.h>

#include "text/utf8.h"

namespace doppler::jinja {
namespace {

constexpr char32_t kNoCharacter = 0xFFFFFFFF;

// The code point that `character` is; kNoCharacter for a stray byte.
char32_t CodePoint(std::string_view character) {
  if (character.empty()) return kNoCharacter;
  const Utf8Step step = DecodeUtf8(character, 0);
  return step.status == Utf8Status::kValid ? step.code_point : kNoCharacter;
}

std::string_view CharacterBefore(std::string_view text, std::size_t end) {
  std::size_t at = end - 1;
  constexpr unsigned kContinuationMask = 0xC0;
  constexpr unsigned kContinuation = 0x80;
  while (at > 0 && end - at < 4 &&
         (static_cast<unsigned char>(text[at]) & kContinuationMask) == kContinuation) {
    --at;
  }
  const std::string_view found = CharacterAt(text.substr(0, end), at);
  return at + found.size() == end ? found : text.substr(end - 1, 1);
}

using MapCase = utf8proc_int32_t (*)(utf8proc_int32_t);

void AppendMapped(std::string_view character, MapCase map, std::string* out) {
  const char32_t code_point = CodePoint(character);
  if (code_point == kNoCharacter) {
    out->append(character);
    return;
  }
  AppendUtf8(static_cast<char32_t>(map(static_cast<utf8proc_int32_t>(code_point))), out);
}

// Upper case without utf8proc's capital sharp s, which Python writes as two letters.
utf8proc_int32_t UpperOf(utf8proc_int32_t code_point) {
  constexpr utf8proc_int32_t kSharpS = 0xDF;
  return code_point == kSharpS ? code_point : utf8proc_toupper(code_point);
}

std::string Mapped(std::string_view text, MapCase map) {
  std::string out;
  out.reserve(text.size());
  ForEachCharacter(text, [&](std::string_view character) { AppendMapped(character, map, &out); });
  return out;
}

// Upper case where `begins_word` says so for the character before, lower case elsewhere.
template <typename BeginsWord>
std::string Titled(std::string_view text, const BeginsWord& begins_word) {
  std::string out;
  bool begins = true;
  ForEachCharacter(text, [&](std::string_view character) {
    AppendMapped(character, begins ? UpperOf : utf8proc_tolower, &out);
    begins = begins_word(character);
  });
  return out;
}

utf8proc_category_t Category(std::string_view character) {
  const char32_t code_point = CodePoint(character);
  if (code_point == kNoCharacter) return UTF8PROC_CATEGORY_CN;
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

bool AllCased(std::string_view text, utf8proc_category_t wanted, utf8proc_category_t other) {
  bool some = false;
  bool all = true;
  ForEachCharacter(text, [&](std::string_view character) {
    const utf8proc_category_t category = Category(character);
    all = all && category != other && category != UTF8PROC_CATEGORY_LT;
    some = some || category == wanted;
  });
  return some && all;
}

// What str.splitlines takes for the end of a line, but for CR LF.
bool IsLineEnd(std::string_view character) {
  constexpr std::array<char32_t, 10> kEnds = {'\n', '\r', '\v', '\f',   0x1C,
                                              0x1D, 0x1E, 0x85, 0x2028, 0x2029};
  return std::find(kEnds.begin(), kEnds.end(), CodePoint(character)) != kEnds.end();
}

}  // namespace

std::string_view CharacterAt(std::string_view text, std::size_t at) {
  const Utf8Step step = DecodeUtf8(text, at);
  return text.substr(at, step.status == Utf8Status::kValid ? step.length : 1);
}

std::vector<std::string_view> Characters(std::string_view text) {
  std::vector<std::string_view> characters;
  characters.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); at += characters.back().size()) {
    characters.push_back(CharacterAt(text, at));
  }
  return characters;
}

std::size_t CharacterCount(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); at += CharacterAt(text, at).size()) ++count;
  return count;
}

bool IsSpace(std::string_view character) {
  const char32_t code_point = CodePoint(character);
  // Python adds the four separators of ASCII to Unicode's White_Space.
  return IsWhitespace(code_point) || (code_point >= 0x1C && code_point <= 0x1F);
}

std::string_view Strip(std::string_view text, bool left, bool right, std::string_view characters) {
  const std::vector<std::string_view> wanted = Characters(characters);
  const auto goes = [&wanted](std::string_view character) {
    if (wanted.empty()) return IsSpace(character);
    return std::find(wanted.begin(), wanted.end(), character) != wanted.end();
  };
  while (left && !text.empty()) {
    const std::string_view first = CharacterAt(text, 0);
    if (!goes(first)) break;
    text.remove_prefix(first.size());
  }
  while (right && !text.empty()) {
    const std::string_view last = CharacterBefore(text, text.size());
    if (!goes(last)) break;
    text.remove_suffix(last.size());
  }
  return text;
}

std::string Upper(std::string_view text) { return Mapped(text, UpperOf); }
std::string Lower(std::string_view text) { return Mapped(text, utf8proc_tolower); }

std::string Capitalize(std::string_view text) {
  return Titled(text, [](std::string_view) { return false; });
}

std::string TitleOfMethod(std::string_view text) {
  return Titled(text, [](std::string_view before) { return !IsLetter(before); });
}

std::string TitleOfFilter(std::string_view text) {
  return Titled(text, [](std::string_view before) {
    return IsSpace(before) || std::string_view("-({[<").find(before) != std::string_view::npos;
  });
}

bool IsUpper(std::string_view text) {
  return AllCased(text, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LL);
}
bool IsLower(std::string_view text) {
  return AllCased(text, UTF8PROC_CATEGORY_LL, UTF8PROC_CATEGORY_LU);
}
bool IsLetter(std::string_view character) {
  const utf8proc_category_t category = Category(character);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool IsDigit(std::string_view character) { return Category(character) == UTF8PROC_CATEGORY_ND; }

std::vector<std::string> SplitSpace(std::string_view text, std::int64_t limit, bool from_right) {
  std::vector<std::string> parts;
  text = Strip(text, !from_right, from_right);
  while (!text.empty()) {
    if (limit >= 0 && parts.size() == static_cast<std::size_t>(limit)) {
      parts.emplace_back(text);
      break;
    }
    std::size_t cut = from_right ? text.size() : 0;
    while (from_right ? cut > 0 : cut < text.size()) {
      const std::string_view next =
          from_right ? CharacterBefore(text, cut) : CharacterAt(text, cut);
      if (IsSpace(next)) break;
      cut = from_right ? cut - next.size() : cut + next.size();
    }
    parts.emplace_back(from_right ? text.substr(cut) : text.substr(0, cut));
    text = Strip(from_right ? text.substr(0, cut) : text.substr(cut), !from_right, from_right);
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> SplitAt(std::string_view text, std::string_view separator,
                                 std::int64_t limit, bool from_right) {
  std::vector<std::string> parts;
  while (limit < 0 || parts.size() < static_cast<std::size_t>(limit)) {
    const std::size_t found = from_right ? text.rfind(separator) : text.find(separator);
    if (found == std::string_view::npos) break;
    const std::size_t after = found + separator.size();
    parts.emplace_back(from_right ? text.substr(after) : text.substr(0, found));
    text = from_right ? text.substr(0, found) : text.substr(after);
  }
  parts.emplace_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view character = CharacterAt(text, at);
    if (!IsLineEnd(character)) {
      at += character.size();
      continue;
    }
    const std::size_t size = text.substr(at, 2) == "\r\n" ? 2 : character.size();
    lines.emplace_back(text.substr(begin, at - begin + (keep_ends ? size : 0)));
    at += size;
    begin = at;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

std::size_t CountOf(std::string_view text, std::string_view part) {
  if (part.empty()) return CharacterCount(text) + 1;
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  // Python's float_repr_style 'short': the shortest digits, an exponent from 1e16 and below 1e-4.
  std::array<char, 32> buffer;
  const double size = std::fabs(value);
  if (size != 0 && (size >= 1e16 || size < 1e-4)) {
    const auto [end, status] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                             std::chars_format::scientific);
    return {buffer.data(), end};
  }
  const auto [end, status] =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed);
  std::string text(buffer.data(), end);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string QuotedText(std::string_view text) {
  const bool double_quotes =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
  ForEachCharacter(text, [&](std::string_view character) {
    const char32_t code_point = CodePoint(character);
    if (code_point == '\\' || code_point == static_cast<char32_t>(quote)) {
      out += '\\';
      out += character;
    } else if (code_point == '\n') {
      out += "\\n";
    } else if (code_point == '\r') {
      out += "\\r";
    } else if (code_point == '\t') {
      out += "\\t";
    } else if (code_point < 0x20 || code_point == 0x7F) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(code_point));
    } else {
      out += character;
    }
  });
  return out + quote;
}

}  // namespace doppler::jinja
