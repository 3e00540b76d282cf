#include "swarm/bencode.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace doppler {
namespace {

constexpr int kMostDepth = 8;
// A value takes far more memory than text, so that their number bounds what a text can cost.
constexpr std::size_t kMostValues = std::size_t{1} << 20;

[[noreturn]] void WrongKind(std::string_view what, std::string_view expected) {
  Throw("'{}' is not {}", what, expected);
}

}  // namespace

class BencodeParser {
 public:
  explicit BencodeParser(std::string_view text) : text_(text) {}

  BencodeValue Parse() {
    BencodeValue value = Value(0);
    if (at_ != text_.size()) Fail("there is more after the end");
    return value;
  }

 private:
  [[noreturn]] void Fail(std::string_view problem) const {
    Throw("not bencoded, at byte {}: {}", at_, problem);
  }

  char Peek() const {
    if (at_ >= text_.size()) Fail("the text ends too soon");
    return text_[at_];
  }

  BencodeValue Value(int depth) {
    if (depth > kMostDepth) Fail("it is nested too deep");
    if (++values_ > kMostValues) Fail("there are too many values");
    const std::size_t begin = at_;
    BencodeValue value;
    switch (Peek()) {
      case 'i':
        value.kind_ = BencodeValue::Kind::kInteger;
        ++at_;
        value.integer_ = Number('e');
        break;
      case 'l':
        value.kind_ = BencodeValue::Kind::kList;
        for (++at_; Peek() != 'e';) value.list_.push_back(Value(depth + 1));
        ++at_;
        break;
      case 'd':
        value.kind_ = BencodeValue::Kind::kDict;
        for (++at_; Peek() != 'e';) Member(value, depth);
        ++at_;
        break;
      default:
        value.kind_ = BencodeValue::Kind::kString;
        value.string_ = Text();
    }
    value.raw_ = text_.substr(begin, at_ - begin);
    return value;
  }

  void Member(BencodeValue& dict, int depth) {
    const std::string_view key = Text();
    if (!dict.dict_.empty() && dict.dict_.back().first >= key) {
      Fail("the keys are not in ascending order");
    }
    dict.dict_.emplace_back(key, Value(depth + 1));
  }

  // A number in its one spelling, and the character after it.
  std::int64_t Number(char end) {
    const std::string_view rest = text_.substr(at_);
    const std::string_view digits = rest.substr(0, rest.find(end));
    std::int64_t number = 0;
    const auto [last, status] =
        std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (status != std::errc() || last != digits.data() + digits.size() ||
        digits.size() == rest.size()) {
      Fail("this is not a number");
    }
    const std::string_view absolute = digits.substr(digits.front() == '-' ? 1 : 0);
    if (absolute.front() == '0' && digits.size() > 1) Fail("a number has a leading zero");
    at_ += digits.size() + 1;
    return number;
  }

  std::string_view Text() {
    const std::int64_t size = Number(':');
    if (size < 0 || static_cast<std::uint64_t>(size) > text_.size() - at_) {
      Fail("a string is longer than the text");
    }
    const std::string_view text = text_.substr(at_, static_cast<std::size_t>(size));
    at_ += text.size();
    return text;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t values_ = 0;
};

std::int64_t BencodeValue::Integer(std::string_view what) const {
  if (kind_ != Kind::kInteger) WrongKind(what, "an integer");
  return integer_;
}

std::string_view BencodeValue::String(std::string_view what) const {
  if (kind_ != Kind::kString) WrongKind(what, "a string");
  return string_;
}

const std::vector<BencodeValue>& BencodeValue::List(std::string_view what) const {
  if (kind_ != Kind::kList) WrongKind(what, "a list");
  return list_;
}

const std::vector<std::pair<std::string_view, BencodeValue>>& BencodeValue::Dict(
    std::string_view what) const {
  if (kind_ != Kind::kDict) WrongKind(what, "a dictionary");
  return dict_;
}

const BencodeValue* BencodeValue::Find(std::string_view key) const {
  const auto found = std::lower_bound(
      dict_.begin(), dict_.end(), key,
      [](const auto& member, std::string_view name) { return member.first < name; });
  return found != dict_.end() && found->first == key ? &found->second : nullptr;
}

BencodeValue ParseBencode(std::string_view text) { return BencodeParser(text).Parse(); }

BencodeWriter& BencodeWriter::Integer(std::int64_t value) {
  text_ += "i" + std::to_string(value) + "e";
  return *this;
}

BencodeWriter& BencodeWriter::String(std::string_view value) {
  text_ += std::to_string(value.size()) + ":";
  text_ += value;
  return *this;
}

BencodeWriter& BencodeWriter::OpenList() {
  text_ += 'l';
  return *this;
}

BencodeWriter& BencodeWriter::OpenDict() {
  text_ += 'd';
  return *this;
}

BencodeWriter& BencodeWriter::Close() {
  text_ += 'e';
  return *this;
}

BencodeWriter& BencodeWriter::Raw(std::string_view value) {
  text_ += value;
  return *this;
}

}  // namespace doppler
