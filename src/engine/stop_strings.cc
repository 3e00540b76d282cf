#include "engine/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace doppler {

StopStrings::StopStrings(std::vector<std::string> stops) {
  for (std::string& text : stops) {
    if (text.empty()) throw UsageError("--stop is empty; give the text at which to stop");
    Stop stop;
    stop.text = std::move(text);
    stop.border.resize(stop.text.size());
    // A string's borders are found by matching it against itself.
    for (std::size_t i = 1; i < stop.text.size(); ++i) {
      Advance(&stop, stop.text[i]);
      stop.border[i] = stop.matched;
    }
    stop.matched = 0;
    stops_.push_back(std::move(stop));
  }
}

void StopStrings::Advance(Stop* stop, char next) {
  while (stop->matched > 0 && stop->text[stop->matched] != next) {
    stop->matched = stop->border[stop->matched - 1];
  }
  if (stop->text[stop->matched] == next) ++stop->matched;
}

std::string StopStrings::Push(std::string_view text) {
  if (stopped_) return {};
  for (const char next : text) {
    held_ += next;
    std::size_t complete = 0;
    for (Stop& stop : stops_) {
      Advance(&stop, next);
      if (stop.matched == stop.text.size()) complete = std::max(complete, stop.matched);
    }
    if (complete == 0) continue;
    stopped_ = true;
    held_.resize(held_.size() - complete);
    return std::exchange(held_, {});
  }
  std::size_t keep = 0;
  for (const Stop& stop : stops_) keep = std::max(keep, stop.matched);
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, out.size());
  return out;
}

std::string StopStrings::Flush() {
  for (Stop& stop : stops_) stop.matched = 0;
  return std::exchange(held_, {});
}

}  // namespace doppler
