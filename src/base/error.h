// How Doppler fails.
//
// Error is for what the outside world does wrong: a damaged file, a wrong flag, a full disk. Its
// message says what is wrong, where, and what to do. It is thrown where the fault is found and
// caught at the edge (command line, request handler). DOPPLER_CHECK is for broken invariants of
// our own and aborts.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace doppler {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The command line itself is wrong; the program exits with status 2 instead of 1.
class UsageError : public Error {
 public:
  using Error::Error;
};

// Throws Error with a formatted message.
template <typename... Args>
[[noreturn]] void Throw(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void CheckFailed(const char* expression, const char* file, int line);

}  // namespace doppler

#define DOPPLER_CHECK(expression) \
  ((expression) ? static_cast<void>(0) : ::doppler::CheckFailed(#expression, __FILE__, __LINE__))
