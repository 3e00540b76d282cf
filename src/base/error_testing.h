// For tests: what an action complains about.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"

namespace doppler {

// The message of the Error that `action` throws, or "no error". Any other exception passes.
inline std::string MessageOf(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace doppler
