// Strict reading of JSON from outside: bounded in size and depth, no key twice in one object, and
// every complaint says where in the document it applies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/error.h"

namespace doppler {

struct JsonLimits {
  Bytes size = 256 * kMiB;
  int depth = 16;
};

// Throws Error, which names `where`, for text that is not JSON, is too large or too deeply nested,
// or gives a key twice in one object.
nlohmann::json ParseStrictJson(std::string_view text, const std::string& where,
                               const JsonLimits& limits = {});

// A value in a document and the path to it. Refers to the document, to `where` and to the reader
// of the enclosing value, all of which must outlive it.
class JsonReader {
 public:
  JsonReader(const nlohmann::json& document, const std::string& where)
      : value_(&document), where_(&where) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& where() const { return *where_; }  // the document's name

  // Throws Error: the file (unless `where` is empty), the path of this value, and the message.
  template <typename... Args>
  [[noreturn]] void Fail(fmt::format_string<Args...> format, Args&&... args) const {
    Throw("{}at {}: {}", where_->empty() ? "" : *where_ + ", ", Path(),
          fmt::format(format, std::forward<Args>(args)...));
  }

  // Throws Error unless this is an object whose keys are all among `keys`.
  void RequireOnly(std::initializer_list<std::string_view> keys) const;
  void RequireObject() const;
  void RequireArray() const;

  // A member of this object; Member throws Error if there is none.
  JsonReader Member(std::string_view key) const&;
  std::optional<JsonReader> OptionalMember(std::string_view key) const&;
  // REQUIRES: this is an array with that element.
  JsonReader Element(std::size_t index) const&;

  // A member of this object that is not null; here and below null counts as missing.
  std::optional<JsonReader> Find(std::string_view key) const&;
  bool Has(std::string_view key) const { return Find(key).has_value(); }

  const std::string& String() const;
  std::uint64_t Unsigned() const;
  // An integer from 0 to `largest`.
  int Int(int largest = std::numeric_limits<int>::max()) const;
  double Number() const;
  bool Bool() const;
  std::vector<int> Ints() const;
  std::vector<double> Numbers() const;
  std::vector<std::string> Strings() const;

  int IntOr(std::string_view key, int otherwise) const;
  double NumberOr(std::string_view key, double otherwise) const;
  bool BoolOr(std::string_view key, bool otherwise) const;
  std::string StringOr(std::string_view key, const std::string& otherwise) const;

  std::string Path() const;

 private:
  JsonReader(const nlohmann::json& value, const JsonReader& parent, std::string_view key,
             std::size_t index)
      : value_(&value), where_(parent.where_), parent_(&parent), key_(key), index_(index) {}

  const nlohmann::json* value_;
  const std::string* where_;
  const JsonReader* parent_ = nullptr;
  std::string_view key_;   // of a member; empty data for an element
  std::size_t index_ = 0;  // of an element
};

}  // namespace doppler
