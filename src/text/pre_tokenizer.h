// Splits text into the words that byte-pair encoding works on: a list of steps, each of which
// splits what the step before it gave. Immutable, safe for concurrent use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "text/split_pattern.h"

namespace doppler {

// What becomes of a match of the pattern, in the words of Hugging Face's tokenizers.
enum class SplitBehavior : std::uint8_t {
  kIsolated,            // a piece of its own
  kRemoved,             // dropped
  kMergedWithPrevious,  // joined to the text before it, unless that is a match
  kMergedWithNext,      // joined to the text after it, unless that is a match
  kContiguous,          // joined to the matches right before and after it
};

// Before which texts the Metaspace step puts its mark.
enum class PrependScheme : std::uint8_t {
  kAlways,
  kFirst,  // only at the beginning of the whole input
  kNever,
};

// The pattern that GPT-2's byte-level pre-tokenizer splits with.
extern const std::string_view kGpt2Pattern;

class PreTokenizer {
 public:
  // `invert`: what the pattern does not match counts as the match.
  void AddSplit(std::string_view pattern, SplitBehavior behavior, bool invert);
  // Puts a space before each piece that does not begin with one.
  void AddPrefixSpace();
  // Writes `mark` for a space, puts one before the texts that `scheme` says and that do not begin
  // with one, and if `split` begins a word at each. Throws Error if `mark` is empty.
  void AddMetaspace(std::string mark, PrependScheme scheme, bool split);

  // Whether there are patterns, which match characters only.
  bool NeedsUtf8() const;

  using Emit = FunctionRef<void(std::string_view)>;
  // Gives each word to `emit`, in order; a word lives only until `emit` returns. `first`: the text
  // stands at the beginning of the input. Throws Error if a pattern cannot be applied. REQUIRES:
  // `text` is valid UTF-8 if NeedsUtf8().
  void Split(std::string_view text, bool first, MatchScratch* scratch, Emit emit) const;

 private:
  enum class Kind : std::uint8_t { kSplit, kPrefixSpace, kMetaspaces };
  struct Step {
    Kind kind = Kind::kSplit;
    std::optional<SplitPattern> pattern;
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
    std::string mark;
    PrependScheme scheme = PrependScheme::kAlways;
    bool split = false;
  };
  struct Run;

  void Add(Step step);
  void RunFrom(std::size_t step, std::string_view text, bool first, const Run& run) const;
  std::vector<Step> steps_;
};

}  // namespace doppler
