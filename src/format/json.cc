#include "format/json.h"

#include <algorithm>

namespace doppler {
namespace {

using Json = nlohmann::json;

// Keys from outside can hold anything: quoted and escaped, and cut when they are long.
std::string QuotedKey(std::string_view text) {
  constexpr std::size_t kLongest = 120;
  const bool cut = text.size() > kLongest;
  const Json quoted = std::string(text.substr(0, kLongest));
  return quoted.dump(-1, ' ', false, Json::error_handler_t::replace) + (cut ? "..." : "");
}

// A value as a message shows it.
std::string Brief(const Json& value) {
  if (value.is_structured() || value.is_string()) return value.type_name();
  return value.dump();
}

bool IsPlainKey(std::string_view key) {
  return !key.empty() && key.size() <= 40 && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// Builds the document as it is read. (The library's own parser with a callback looks at all
// earlier members of an object after each one, which takes minutes for a large manifest.)
class StrictBuilder : public nlohmann::json_sax<Json> {
 public:
  StrictBuilder(const std::string& where, int max_depth) : where_(where), max_depth_(max_depth) {}

  Json Take() && { return std::move(document_); }

  bool null() override { return Put(nullptr); }
  bool boolean(bool value) override { return Put(value); }
  bool number_integer(std::int64_t value) override { return Put(value); }
  bool number_unsigned(std::uint64_t value) override { return Put(value); }
  bool number_float(double value, const std::string& /*text*/) override { return Put(value); }
  bool string(std::string& value) override { return Put(std::move(value)); }
  bool binary(Json::binary_t& /*value*/) override { return false; }

  bool start_object(std::size_t /*size*/) override { return Open(Json::object()); }
  bool start_array(std::size_t /*size*/) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(std::string& key) override {
    auto& object = open_.back()->get_ref<Json::object_t&>();
    const auto [member, fresh] = object.try_emplace(key);
    if (!fresh) {
      Throw("{}: the key {} stands twice in one object; the file is damaged", where_,
            QuotedKey(key));
    }
    member_ = &member->second;
    return true;
  }

  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const Json::exception& error) override {
    Throw("{}: this is not valid JSON ({}); the file is damaged", where_, error.what());
  }

 private:
  // Where the next value belongs.
  Json& Place() {
    if (open_.empty()) return document_;
    if (open_.back()->is_object()) return *member_;
    return open_.back()->emplace_back();
  }
  template <typename Value>
  bool Put(Value&& value) {
    Place() = std::forward<Value>(value);
    return true;
  }
  bool Open(Json empty) {
    if (open_.size() >= static_cast<std::size_t>(max_depth_)) {
      Throw("{}: the JSON is nested more than {} deep; the file is damaged", where_, max_depth_);
    }
    Json& place = Place();
    place = std::move(empty);
    open_.push_back(&place);
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }

  const std::string& where_;
  int max_depth_;
  Json document_;
  std::vector<Json*> open_;  // from the outermost; only the last one grows, so none moves
  Json* member_ = nullptr;   // of the last one, if it is an object
};

// What `read` makes of each element of a list.
template <typename Value, typename Read>
std::vector<Value> Elements(const JsonReader& list, const Read& read) {
  list.RequireArray();
  std::vector<Value> values;
  for (std::size_t i = 0; i < list.value().size(); ++i) values.push_back(read(list.Element(i)));
  return values;
}

}  // namespace

Json ParseStrictJson(std::string_view text, const std::string& where, const JsonLimits& limits) {
  if (text.size() > limits.size) {
    Throw("{}: {} of JSON are more than the {} that are accepted", where, FormatSize(text.size()),
          FormatSize(limits.size));
  }
  StrictBuilder builder(where, limits.depth);
  Json::sax_parse(text, &builder);
  return std::move(builder).Take();
}

std::string JsonReader::Path() const {
  if (parent_ == nullptr) return "the top level";
  std::string before = parent_->parent_ == nullptr ? "" : parent_->Path();
  if (key_.data() == nullptr) return fmt::format("{}[{}]", before, index_);
  if (IsPlainKey(key_)) return before + (before.empty() ? "" : ".") + std::string(key_);
  return fmt::format("{}[{}]", before, QuotedKey(key_));
}

void JsonReader::RequireObject() const {
  if (!value_->is_object()) Fail("this must be an object, not {}", value_->type_name());
}

void JsonReader::RequireArray() const {
  if (!value_->is_array()) Fail("this must be a list, not {}", value_->type_name());
}

void JsonReader::RequireOnly(std::initializer_list<std::string_view> keys) const {
  RequireObject();
  for (const auto& [key, value] : value_->items()) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
      Fail("the key {} is not known; it may belong to a newer version of Doppler", QuotedKey(key));
    }
  }
}

std::optional<JsonReader> JsonReader::OptionalMember(std::string_view key) const& {
  RequireObject();
  const auto found = value_->find(key);
  if (found == value_->end()) return std::nullopt;
  return JsonReader(*found, *this, found.key(), 0);
}

JsonReader JsonReader::Member(std::string_view key) const& {
  const std::optional<JsonReader> member = OptionalMember(key);
  if (!member) Fail("the key '{}' is missing", key);
  return *member;
}

JsonReader JsonReader::Element(std::size_t index) const& {
  DOPPLER_CHECK(value_->is_array() && index < value_->size());
  return {(*value_)[index], *this, {}, index};
}

const std::string& JsonReader::String() const {
  if (!value_->is_string()) Fail("this must be a string, not {}", value_->type_name());
  return value_->get_ref<const std::string&>();
}

std::uint64_t JsonReader::Unsigned() const {
  if (!value_->is_number_unsigned()) {
    Fail("this must be an integer that is not negative, not {}", Brief(*value_));
  }
  return value_->get<std::uint64_t>();
}

std::optional<JsonReader> JsonReader::Find(std::string_view key) const& {
  std::optional<JsonReader> member = OptionalMember(key);
  if (member && member->value_->is_null()) return std::nullopt;
  return member;
}

double JsonReader::Number() const {
  if (!value_->is_number()) Fail("this must be a number, not {}", value_->type_name());
  return value_->get<double>();
}

bool JsonReader::Bool() const {
  if (!value_->is_boolean()) Fail("this must be true or false, not {}", value_->type_name());
  return value_->get<bool>();
}

std::vector<int> JsonReader::Ints() const {
  return Elements<int>(*this, [](const JsonReader& element) { return element.Int(); });
}

std::vector<double> JsonReader::Numbers() const {
  return Elements<double>(*this, [](const JsonReader& element) { return element.Number(); });
}

std::vector<std::string> JsonReader::Strings() const {
  return Elements<std::string>(*this, [](const JsonReader& element) { return element.String(); });
}

int JsonReader::IntOr(std::string_view key, int otherwise) const {
  const auto member = Find(key);
  return member ? member->Int() : otherwise;
}

double JsonReader::NumberOr(std::string_view key, double otherwise) const {
  const auto member = Find(key);
  return member ? member->Number() : otherwise;
}

bool JsonReader::BoolOr(std::string_view key, bool otherwise) const {
  const auto member = Find(key);
  return member ? member->Bool() : otherwise;
}

std::string JsonReader::StringOr(std::string_view key, const std::string& otherwise) const {
  const auto member = Find(key);
  return member ? member->String() : otherwise;
}

int JsonReader::Int(int largest) const {
  const std::uint64_t number = Unsigned();
  if (number > static_cast<std::uint64_t>(largest)) {
    Fail("{} is too large; at most {} makes sense here", number, largest);
  }
  return static_cast<int>(number);
}

}  // namespace doppler
