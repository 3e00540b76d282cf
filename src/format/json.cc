#include "format/json.h"

#include <algorithm>
#include <set>
#include <vector>

namespace doppler {
namespace {

using nlohmann::json;

// Keys from outside can hold anything: quoted and escaped, and cut when they are long.
std::string Quoted(std::string_view text) {
  constexpr std::size_t kLongest = 120;
  const bool cut = text.size() > kLongest;
  const json quoted = std::string(text.substr(0, kLongest));
  return quoted.dump(-1, ' ', false, json::error_handler_t::replace) + (cut ? "..." : "");
}

bool IsPlainKey(std::string_view key) {
  return !key.empty() && key.size() <= 40 && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

}  // namespace

json ParseStrictJson(std::string_view text, const std::string& where, const JsonLimits& limits) {
  if (text.size() > limits.size) {
    Throw("{}: {} of JSON are more than the {} that are accepted", where, FormatSize(text.size()),
          FormatSize(limits.size));
  }
  std::vector<std::set<std::string>> open_objects;
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    const bool opens =
        event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    if (opens && depth >= limits.depth) {
      Throw("{}: the JSON is nested more than {} deep; the file is damaged", where, limits.depth);
    }
    if (event == json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == json::parse_event_t::object_end) open_objects.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!open_objects.back().insert(key).second) {
        Throw("{}: the key {} stands twice in one object; the file is damaged", where, Quoted(key));
      }
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::exception& error) {
    Throw("{}: this is not valid JSON ({}); the file is damaged", where, error.what());
  }
}

std::string JsonReader::Path() const {
  if (parent_ == nullptr) return "the top level";
  std::string before = parent_->parent_ == nullptr ? "" : parent_->Path();
  if (key_.data() == nullptr) return fmt::format("{}[{}]", before, index_);
  if (IsPlainKey(key_)) return before + (before.empty() ? "" : ".") + std::string(key_);
  return fmt::format("{}[{}]", before, Quoted(key_));
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
      Fail("the key {} is not known; it may belong to a newer version of Doppler", Quoted(key));
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
  if (!value_->is_number_unsigned()) Fail("this must be an integer that is not negative");
  return value_->get<std::uint64_t>();
}

int JsonReader::Int(int largest) const {
  const std::uint64_t number = Unsigned();
  if (number > static_cast<std::uint64_t>(largest)) {
    Fail("{} is too large; at most {} makes sense here", number, largest);
  }
  return static_cast<int>(number);
}

}  // namespace doppler
