// Finds stop strings in text that arrives in parts.
//
// Holds back only the end of the text that could still become a stop string. The text ends at the
// first stop string to be complete; of several that end there, before the longest. What comes out
// does not depend on how the text was cut. One finder serves one text and one thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace doppler {

class StopStrings {
 public:
  // Throws UsageError, naming --stop, for an empty one.
  explicit StopStrings(std::vector<std::string> stops);

  // Takes `text` and returns what can be shown of all text so far: none of it is held back any
  // longer, and nothing from a stop string on is among it. Empty once stopped().
  std::string Push(std::string_view text);

  // Ends the text and returns what was held back.
  std::string Flush();

  // Whether a stop string was found.
  bool stopped() const { return stopped_; }

 private:
  // One stop string and how much of it the text so far ends with (Knuth, Morris and Pratt).
  struct Stop {
    std::string text;
    std::vector<std::size_t> border;  // [text.size()], longest proper border of each prefix
    std::size_t matched = 0;
  };

  static void Advance(Stop* stop, char next);

  std::vector<Stop> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace doppler
