#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/string_literal.h"

namespace doppler::jinja {
namespace {

constexpr std::array<std::string_view, 6> kLongOperators = {"**", "//", "==", "!=", ">=", "<="};
constexpr std::string_view kShortOperators = "+-/*%~[](){}<>=.:|,;";

bool IsNameByte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' ||
         (byte >= '0' && byte <= '9') || byte >= 0x80;
}
bool IsDecimal(char c) { return c >= '0' && c <= '9'; }

// Every way to end a line becomes \n, and one at the very end goes.
std::string Normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> Run() {
    while (at_ < source_.size()) {
      const std::size_t tag = FindTag();
      if (tag == std::string_view::npos) {
        AddData(source_.substr(at_));
        at_ = source_.size();
        break;
      }
      Text(tag);
      Tag();
    }
    Add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void Fail(const std::string& message) const { ThrowAtLine(line_, message); }

  std::string_view Rest() const { return source_.substr(at_); }
  bool Next(std::string_view text) const { return Rest().starts_with(text); }
  char Sign(std::size_t at) const {
    const char c = at < source_.size() ? source_[at] : '\0';
    return c == '-' || c == '+' ? c : '\0';
  }

  void Add(TokenKind kind, std::string text) {
    tokens_.push_back({.kind = kind, .text = std::move(text), .line = line_});
  }
  void AddData(std::string_view text) {
    if (!text.empty()) Add(TokenKind::kData, std::string(text));
  }

  // Moves on, counting lines.
  void Skip(std::size_t count) {
    line_ += static_cast<int>(
        std::count(Rest().begin(), Rest().begin() + static_cast<std::ptrdiff_t>(count), '\n'));
    at_ += count;
  }
  void SkipSpace() { Skip(Rest().size() - Strip(Rest(), true, false).size()); }

  std::size_t FindTag() const {
    for (std::size_t tag = source_.find('{', at_); tag != std::string_view::npos;
         tag = source_.find('{', tag + 1)) {
      const char next = tag + 1 < source_.size() ? source_[tag + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') return tag;
    }
    return std::string_view::npos;
  }

  // `text` up to a tag, less what the tag's sign or lstrip_blocks takes away.
  std::string_view Trimmed(std::string_view text, char sign, bool block) const {
    if (sign == '-') return Strip(text, false, true);
    if (sign == '+' || !block) return text;
    const std::size_t newline = text.rfind('\n');
    const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
    if (begin == 0 && !line_starting_) return text;
    return Strip(text.substr(begin), true, false).empty() ? text.substr(0, begin) : text;
  }

  void Text(std::size_t tag) {
    AddData(Trimmed(source_.substr(at_, tag - at_), Sign(tag + 2), source_[tag + 1] != '{'));
    Skip(tag - at_);
  }

  void Tag() {
    const char kind = source_[at_ + 1];
    if (kind == '#') return Comment();
    if (kind == '%' && Raw()) return;
    Add(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
    Skip(Sign(at_ + 2) == '\0' ? 2 : 3);
    Inside(kind == '%');
  }

  // Past the end of a tag, and what its sign or trim_blocks takes of the text that follows.
  void EndTag(std::size_t size, char sign, bool block) {
    const std::size_t begin = at_;
    Skip(size);
    if (sign == '-') {
      SkipSpace();
    } else if (sign == '\0' && block && Next("\n")) {
      Skip(1);
    }
    line_starting_ = at_ > begin && source_[at_ - 1] == '\n';
  }

  void Comment() {
    const std::size_t end = source_.find("#}", at_ + 2);
    if (end == std::string_view::npos) Fail("the comment has no end '#}'");
    const char sign = end > at_ + 2 ? Sign(end - 1) : '\0';
    Skip(end - at_);
    EndTag(2, sign, true);
  }

  // Whether a block tag that holds just `word` stands at `at`: its size and the sign at its end.
  struct WordTag {
    std::size_t size = 0;
    char begin_sign = '\0';
    char end_sign = '\0';
  };
  bool IsWordTag(std::size_t at, std::string_view word, WordTag* tag) const {
    std::string_view rest = source_.substr(at + 2);
    tag->begin_sign = Sign(at + 2);
    if (tag->begin_sign != '\0') rest.remove_prefix(1);
    rest = Strip(rest, true, false);
    if (!rest.starts_with(word)) return false;
    rest = Strip(rest.substr(word.size()), true, false);
    tag->end_sign = rest.empty() || (rest[0] != '-' && rest[0] != '+') ? '\0' : rest[0];
    if (tag->end_sign != '\0') rest.remove_prefix(1);
    if (!rest.starts_with("%}")) return false;
    tag->size = source_.size() - at - rest.size() + 2;
    return true;
  }

  // {% raw %} ... {% endraw %}: all between is text.
  bool Raw() {
    WordTag begin;
    if (!IsWordTag(at_, "raw", &begin)) return false;
    EndTag(begin.size, begin.end_sign, false);
    WordTag end;
    for (std::size_t tag = source_.find("{%", at_); tag != std::string_view::npos;
         tag = source_.find("{%", tag + 2)) {
      if (!IsWordTag(tag, "endraw", &end)) continue;
      AddData(Trimmed(source_.substr(at_, tag - at_), end.begin_sign, true));
      Skip(tag - at_);
      EndTag(end.size, end.end_sign, true);
      return true;
    }
    Fail("'raw' has no 'endraw'");
  }

  // The tokens of one tag, its end included.
  void Inside(bool block) {
    const std::string_view end = block ? "%}" : "}}";
    brackets_.clear();
    for (;;) {
      SkipSpace();
      if (at_ >= source_.size()) Fail(fmt::format("the tag has no end '{}'", end));
      const char sign = Sign(at_);
      // Only a block can end in +.
      const bool signed_end =
          sign != '\0' && (sign == '-' || block) && source_.substr(at_ + 1).starts_with(end);
      if (brackets_.empty() && (signed_end || Next(end))) {
        Add(block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, "");
        return EndTag(signed_end ? 3 : 2, signed_end ? sign : '\0', block);
      }
      OneToken();
    }
  }

  void OneToken() {
    const char c = source_[at_];
    if (c == '\'' || c == '"') return StringToken(c);
    if (IsDecimal(c)) return Number();
    if (IsNameByte(c)) {
      const std::size_t size = Run(IsNameByte);
      Add(TokenKind::kName, std::string(Rest().substr(0, size)));
      return Skip(size);
    }
    Operator();
  }

  template <typename Predicate>
  std::size_t Run(const Predicate& belongs, std::size_t from = 0) const {
    std::size_t size = from;
    while (at_ + size < source_.size() && belongs(source_[at_ + size])) ++size;
    return size;
  }

  void StringToken(char quote) {
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) Fail("a string has no end");
    Add(TokenKind::kString, UnescapeString(source_.substr(at_ + 1, end - at_ - 1), line_));
    Skip(end + 1 - at_);
  }

  void Number() {
    const auto digit = [](char c) { return IsDecimal(c) || c == '_'; };
    std::size_t size = Run(digit);
    bool is_float = false;
    const auto at = [this](std::size_t offset) {
      return at_ + offset < source_.size() ? source_[at_ + offset] : '\0';
    };
    const bool after_dot = !tokens_.empty() && tokens_.back().kind == TokenKind::kOperator &&
                           tokens_.back().text == ".";
    if (!after_dot && at(size) == '.' && IsDecimal(at(size + 1))) {
      size = Run(digit, size + 1);
      is_float = true;
    }
    if (!after_dot && (at(size) == 'e' || at(size) == 'E')) {
      const std::size_t digits = size + (at(size + 1) == '-' || at(size + 1) == '+' ? 2 : 1);
      if (IsDecimal(at(digits))) {
        size = Run(digit, digits);
        is_float = true;
      }
    }
    std::string text(Rest().substr(0, size));
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    Add(is_float ? TokenKind::kFloat : TokenKind::kInteger, std::move(text));
    Skip(size);
  }

  void Operator() {
    std::string_view found = Rest().substr(0, 2);
    if (std::find(kLongOperators.begin(), kLongOperators.end(), found) == kLongOperators.end()) {
      found = Rest().substr(0, 1);
      if (kShortOperators.find(found) == std::string_view::npos) {
        Fail(fmt::format("the character '{}' has no meaning here", found));
      }
    }
    Balance(found[0]);
    Add(TokenKind::kOperator, std::string(found));
    Skip(found.size());
  }

  // A tag does not end inside brackets, so that {{ {'a': {}} }} can be written.
  void Balance(char bracket) {
    constexpr std::string_view kOpen = "([{";
    constexpr std::string_view kClose = ")]}";
    if (const std::size_t open = kOpen.find(bracket); open != std::string_view::npos) {
      brackets_ += kClose[open];
    } else if (kClose.find(bracket) != std::string_view::npos) {
      if (brackets_.empty() || brackets_.back() != bracket) {
        Fail(fmt::format("'{}' closes nothing", bracket));
      }
      brackets_.pop_back();
    }
  }

  std::string_view source_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the text that follows begins a line
  std::string brackets_;       // that wait to be closed
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(std::string_view source) {
  const std::string normalized = Normalized(source);
  return Lexer(normalized).Run();
}

void ThrowAtLine(int line, const std::string& message) { Throw("line {}: {}", line, message); }

}  // namespace doppler::jinja
