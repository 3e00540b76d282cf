#include "text/regex_dialect.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include <pcre2.h>

#include "base/error.h"

namespace doppler {
namespace {

// One side of && in a character class.
struct Operand {
  std::string items;
  bool negated = false;
  bool nested = false;  // written with its own brackets
};

// Whether PCRE2 knows `name` as that of a script.
bool IsScript(std::string_view name) {
  const auto plain = [](char c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  if (!std::all_of(name.begin(), name.end(), plain)) return false;
  const std::string pattern = fmt::format("\\p{{sc:{}}}", name);
  int error = 0;
  PCRE2_SIZE where = 0;
  const std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF, &error,
                    &where, nullptr),
      pcre2_code_free);
  return code != nullptr;
}

class DialectWriter {
 public:
  explicit DialectWriter(std::string_view pattern) : pattern_(pattern) {}

  std::string Write() {
    std::string out;
    while (at_ < pattern_.size()) {
      if (pattern_[at_] == '\\') {
        CopyEscape(&out);
      } else if (pattern_[at_] == '[') {
        out += Class();
      } else {
        out += pattern_[at_++];
      }
    }
    return out;
  }

 private:
  [[noreturn]] void Fail(const char* what) const {
    Throw("the split pattern '{}' {}, which is not supported", pattern_, what);
  }

  bool Next(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }

  void CopyEscape(std::string* out) {
    const std::string_view escape = pattern_.substr(at_, 2);
    at_ += escape.size();
    if ((escape == "\\p" || escape == "\\P") && Next("{")) return CopyProperty(escape, out);
    if (escape == "\\s") {
      *out += "\\p{White_Space}";
    } else if (escape == "\\S") {
      *out += "\\P{White_Space}";
    } else {
      *out += escape;
    }
  }

  // From the '{' of \p{Han} or \p{^Han}.
  void CopyProperty(std::string_view escape, std::string* out) {
    const std::size_t end = pattern_.find('}', at_);
    if (end == std::string_view::npos) Fail("has a property without an end");
    std::string_view name = pattern_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    *out +=
        fmt::format("{}{{{}{}{}}}", escape, negated ? "^" : "", IsScript(name) ? "sc:" : "", name);
  }

  // Reads from '[' to the ']' that ends it.
  std::string Class() {
    const bool negated = OpenClass();
    std::vector<Operand> operands(1);
    ReadItems(&operands);
    if (operands.size() == 1) return Bracketed(operands[0].items, negated);
    if (negated) Fail("negates an intersection of character classes");
    std::string out = "(?:";
    for (std::size_t i = 1; i < operands.size(); ++i) {
      out += operands[i].negated ? "(?!" : "(?=";
      out += Bracketed(operands[i].items, false) + ")";
    }
    return out + Bracketed(operands[0].items, operands[0].negated) + ")";
  }

  void ReadItems(std::vector<Operand>* operands) {
    for (bool first = true;; first = false) {
      if (at_ >= pattern_.size()) Fail("has a character class without an end");
      Operand& operand = operands->back();
      if (pattern_[at_] == ']' && !first) break;
      if (Next("&&")) {
        at_ += 2;
        operands->emplace_back();
      } else if (operand.nested) {
        Fail("has a character class inside another");
      } else if (pattern_[at_] == '[' && !Next("[:")) {
        if (!operand.items.empty()) Fail("has a character class inside another");
        ReadNested(&operand);
      } else {
        CopyItem(&operand.items);
      }
    }
    ++at_;
    for (const Operand& operand : *operands) {
      if (operand.items.empty()) Fail("has an empty side of && in a character class");
    }
  }

  void ReadNested(Operand* operand) {
    operand->negated = OpenClass();
    operand->nested = true;
    for (bool first = true; at_ < pattern_.size(); first = false) {
      if (pattern_[at_] == ']' && !first) break;
      if (Next("&&") || (pattern_[at_] == '[' && !Next("[:"))) {
        Fail("has a character class inside two others");
      }
      CopyItem(&operand->items);
    }
    ++at_;
  }

  bool OpenClass() {
    ++at_;
    const bool negated = at_ < pattern_.size() && pattern_[at_] == '^';
    if (negated) ++at_;
    return negated;
  }

  // An escape, a POSIX class as [:alpha:], or one byte.
  void CopyItem(std::string* items) {
    if (pattern_[at_] == '\\') return CopyEscape(items);
    const std::size_t end = Next("[:") ? pattern_.find(":]", at_ + 2) : std::string_view::npos;
    const std::size_t length = end == std::string_view::npos ? 1 : end + 2 - at_;
    *items += pattern_.substr(at_, length);
    at_ += length;
  }

  static std::string Bracketed(const std::string& items, bool negated) {
    return (negated ? "[^" : "[") + items + "]";
  }

  std::string_view pattern_;
  std::size_t at_ = 0;
};

}  // namespace

std::string ToPcre2Dialect(std::string_view pattern) { return DialectWriter(pattern).Write(); }

std::string QuoteForRegex(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.[]|()?*+{}-#").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace doppler
