// A regular expression that finds where text is split, and the memory that matching needs.
//
// Patterns and texts come from outside: compiling and matching are bounded in work and memory, and
// what goes past the bounds is an Error. A SplitPattern is immutable, safe for concurrent use with
// one MatchScratch per thread.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace doppler {

struct Pcre2Free {
  void operator()(pcre2_real_code_8* code) const;
  void operator()(pcre2_real_match_data_8* data) const;
  void operator()(pcre2_real_match_context_8* context) const;
  void operator()(pcre2_real_jit_stack_8* stack) const;
};

class MatchScratch {
 public:
  MatchScratch();

 private:
  friend class SplitPattern;
  std::unique_ptr<pcre2_real_match_data_8, Pcre2Free> data_;
  std::unique_ptr<pcre2_real_match_context_8, Pcre2Free> context_;
  std::unique_ptr<pcre2_real_jit_stack_8, Pcre2Free> stack_;
};

class SplitPattern {
 public:
  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;  // may equal begin
  };

  // `pattern` as a tokenizer.json has it (see regex_dialect.h). Throws Error that names it.
  explicit SplitPattern(std::string_view pattern);

  // The first match in `text` that begins at or after `from`. Throws Error if the search takes
  // more work than a sane pattern needs. REQUIRES: `text` is valid UTF-8, `from` on a boundary.
  std::optional<Match> Find(std::string_view text, std::size_t from, MatchScratch* scratch) const;

 private:
  std::string pattern_;
  std::unique_ptr<pcre2_real_code_8, Pcre2Free> code_;
};

}  // namespace doppler
