// Flags that take sizes: "512M", "1.5G". Inline, since a file of its own would read all of CLI11
// once more.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/bytes.h"
#include "base/error.h"

namespace doppler {

// Throws CLI::ValidationError for what is no size.
inline Bytes SizeOfFlag(const char* flag, const std::string& text) {
  try {
    return ParseSize(text);
  } catch (const Error& error) {
    throw CLI::ValidationError(flag, error.what());
  }
}

// `type` stands for the value in --help.
inline void AddSize(CLI::App& app, const char* flag, const std::function<void(Bytes)>& set,
                    const char* help, const char* type = "SIZE") {
  app.add_option_function<std::string>(
         flag, [flag, set](const std::string& text) { set(SizeOfFlag(flag, text)); }, help)
      ->type_name(type);
}

}  // namespace doppler
