// What rendering one template may cost. A template is a stranger's program: every step and every
// byte that it makes is counted, and the one that is too many is an Error.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace doppler::jinja {

struct Limits {
  Bytes source = kMiB;                 // of the template
  std::size_t steps = 10'000'000;      // statements, expressions, elements that filters look at
  Bytes memory = 256 * kMiB;           // of all strings and lists made, freed ones too
  Bytes output = 64 * kMiB;            // of the rendered text
  int recursion = 1000;                // statements, expressions and macros inside each other
  static constexpr int kNesting = 80;  // of statements and brackets in the source
  static constexpr int kDepth = 300;   // of an expression's tree, and of lists in lists
};

// One rendering's account. Throws Error where a limit is passed.
class Meter {
 public:
  explicit Meter(const Limits& limits) : limits_(limits) {}

  void Step(std::size_t count = 1);
  // Memory that a value takes; its making counts as steps too, so that copying is not free.
  void Make(std::size_t bytes);
  // Makes sure that `count` things of `bytes` each may be made, before they are.
  void Reserve(std::uint64_t count, std::uint64_t bytes);
  void CheckOutput(std::size_t size) const;

  // Counts one level of recursion for a scope.
  class Level {
   public:
    explicit Level(Meter& meter);
    ~Level() { --meter_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Meter& meter_;
  };

 private:
  Limits limits_;
  std::size_t steps_ = 0;
  Bytes memory_ = 0;
  int level_ = 0;
};

}  // namespace doppler::jinja
