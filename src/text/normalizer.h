// Rewrites text before it is split into words: a list of steps, applied in order. Immutable, safe
// for concurrent use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace doppler {

// A replacement of all that equals some text.
struct TextReplacement {
  std::string from;  // not empty
  std::string to;
};

// Replaces from left to right. Throws Error if the result has more than `most` bytes.
std::string ReplaceAll(std::string_view text, const TextReplacement& replacement, std::size_t most);

class Normalizer {
 public:
  // Unicode normalisation form C. Bytes that are no UTF-8 stay as they are, and what stands before
  // and after them is normalised by itself.
  void AddNfc();
  // Puts `prefix` before a text that is not empty.
  void AddPrepend(std::string prefix);
  // Throws Error if `from` is empty.
  void AddReplace(TextReplacement replacement);

  bool empty() const { return steps_.empty(); }

  // `text` may be any bytes. Throws Error if it grows beyond 16 times its length, or 3 GiB.
  std::string Apply(std::string_view text) const;

 private:
  enum class Kind : std::uint8_t { kNfc, kPrepend, kReplace };
  struct Step {
    Kind kind = Kind::kNfc;
    TextReplacement replacement;  // kPrepend: `to` only
  };
  void Add(Step step);

  std::vector<Step> steps_;
};

}  // namespace doppler
