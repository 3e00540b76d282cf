// Reads members of a JSON object, with an Error for what they are not.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

namespace doppler {

// The value of `key`, or null if `object` has none. REQUIRES: an object, or null.
const nlohmann::json& Field(const nlohmann::json& object, const char* key);

// Throws Error that says `what` has no such string.
std::string StringField(const nlohmann::json& object, const char* key, const char* what);

// `fallback` if there is none, or null. Throws Error if it is no boolean.
bool BoolField(const nlohmann::json& object, const char* key, bool fallback);

// A token id. Throws Error, naming `what`, if it is none.
std::int64_t IdFrom(const nlohmann::json& value, const std::string& what);

}  // namespace doppler
