// Python's str, as templates use it: text is a row of code points in UTF-8. A byte that is no
// UTF-8 counts as one code point of its own. Functions only, safe for concurrent use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace doppler::jinja {

// The code points of `text`, as views into it.
std::vector<std::string_view> Characters(std::string_view text);
std::size_t CharacterCount(std::string_view text);
// The code point that begins at `at`. REQUIRES: at < text.size().
std::string_view CharacterAt(std::string_view text, std::size_t at);
// Calls `use` with each code point in turn.
template <typename Use>
void ForEachCharacter(std::string_view text, const Use& use) {
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view character = CharacterAt(text, at);
    use(character);
    at += character.size();
  }
}

// What str.isspace, str.strip and re's \s take for white space: `character` is one code point.
bool IsSpace(std::string_view character);
// Without white space, or the code points of `characters` if there are any, at the given ends.
std::string_view Strip(std::string_view text, bool left, bool right,
                       std::string_view characters = {});

// Case by code point: what becomes several letters (ß) stays as it is.
std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string Capitalize(std::string_view text);
// str.title(): every letter after a character that is none.
std::string TitleOfMethod(std::string_view text);
// The filter `title`: every letter after a space, a hyphen or an opening bracket.
std::string TitleOfFilter(std::string_view text);
// Whether there are letters with case, and all of them are upper (lower).
bool IsUpper(std::string_view text);
bool IsLower(std::string_view text);
bool IsLetter(std::string_view character);
bool IsDigit(std::string_view character);

// At most `limit` cuts, from the left or from the right; negative: all.
std::vector<std::string> SplitSpace(std::string_view text, std::int64_t limit, bool from_right);
// REQUIRES: separator is not empty.
std::vector<std::string> SplitAt(std::string_view text, std::string_view separator,
                                 std::int64_t limit, bool from_right);
std::vector<std::string> SplitLines(std::string_view text, bool keep_ends);
std::size_t CountOf(std::string_view text, std::string_view part);

// repr(): a float, and a text in quotes.
std::string FloatText(double value);
std::string QuotedText(std::string_view text);

}  // namespace doppler::jinja
