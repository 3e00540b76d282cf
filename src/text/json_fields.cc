#include "text/json_fields.h"

#include "base/error.h"
#include "text/vocabulary.h"

namespace doppler {

using Json = nlohmann::json;

const Json& Field(const Json& object, const char* key) {
  static const Json kNull;
  const auto at = object.find(key);
  return at == object.end() ? kNull : *at;
}

std::string StringField(const Json& object, const char* key, const char* what) {
  const Json& value = Field(object, key);
  if (!value.is_string()) Throw("{} has no string '{}'", what, key);
  return value.get<std::string>();
}

bool BoolField(const Json& object, const char* key, bool fallback) {
  const Json& value = Field(object, key);
  if (value.is_null()) return fallback;
  if (!value.is_boolean()) Throw("'{}' is neither true nor false", key);
  return value.get<bool>();
}

std::int64_t IdFrom(const Json& value, const std::string& what) {
  if (!value.is_number_integer()) Throw("{} is not a token id", what);
  // As int64 an id above its range is negative, and refused like one.
  const auto id = value.get<std::int64_t>();
  if (id < 0 || id >= static_cast<std::int64_t>(kMaxVocabulary)) {
    Throw("{} is {}, which is not a token id", what, value.dump());
  }
  return id;
}

}  // namespace doppler
