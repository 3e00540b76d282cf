// Hugging Face's tokenizer patterns are written for Oniguruma; we match with PCRE2. Both read most
// patterns alike, but some compile in PCRE2 and mean something else. This rewrites those.
#pragma once

#include <string>
#include <string_view>

namespace doppler {

// The pattern in PCRE2's dialect:
//   [A&&[^B]] and [A&&B]  become (?:(?![B])[A]) and (?:(?=[B])[A]); PCRE2 reads && as letters
//   \p{Han}               becomes \p{sc:Han}; PCRE2 takes characters in too that several scripts
//   use \s and \S             become \p{White_Space} and \P{White_Space}; PCRE2's \s has U+180E too
// Throws Error, naming the pattern, for a class inside a class that is not an operand of &&.
std::string ToPcre2Dialect(std::string_view pattern);

// A pattern that matches `text` and nothing else.
std::string QuoteForRegex(std::string_view text);

}  // namespace doppler
