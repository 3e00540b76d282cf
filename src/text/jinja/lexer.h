// Cuts a template into tokens, with Jinja's white space control as transformers sets it:
// trim_blocks, lstrip_blocks, and one final newline that does not count.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace doppler::jinja {

enum class TokenKind : std::uint8_t {
  kData,  // text between the tags
  kBlockBegin,
  kBlockEnd,
  kVariableBegin,
  kVariableEnd,
  kName,
  kString,  // unescaped
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 1;
};

// The last token is kEnd. Throws Error, with the line, for what is no template.
std::vector<Token> Tokenize(std::string_view source);

// Throws Error: "line N: ...".
[[noreturn]] void ThrowAtLine(int line, const std::string& message);

}  // namespace doppler::jinja
