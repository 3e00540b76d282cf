// One line on the terminal that says how far long work has come.
//
//   converting     12.0 MiB of 38.4 MiB   31%   120 MiB/s   0:03 left
//
// Nothing is drawn when the output is not a terminal, so logs and pipes stay clean.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace doppler {

enum class ProgressUnit { kBytes, kItems };

struct ProgressState {
  std::uint64_t done = 0;
  std::uint64_t total = 0;  // 0 if unknown: no percentage and no time left
  double rate = 0;          // per second; 0 if not known yet
  ProgressUnit unit = ProgressUnit::kBytes;
};

// The line without control characters, at most `width` columns. The label gives way to the numbers,
// and is cut between characters; of the numbers what does not fit is cut off.
std::string ProgressLine(std::string_view label, const ProgressState& state, std::size_t width);

struct ProgressOptions {
  ProgressUnit unit = ProgressUnit::kBytes;
  std::FILE* out = stderr;
  std::optional<bool> enabled = {};      // whether to draw; by default if `out` is a terminal
  std::function<double()> seconds = {};  // a clock, for tests
};

// Used by one thread. The first draw comes with the first Update, then at most ten a second.
class ProgressMeter {
 public:
  ProgressMeter(std::string label, std::uint64_t total, ProgressOptions options = {});
  // Ends the line if one was drawn: what is printed next starts on a line of its own.
  ~ProgressMeter();
  ProgressMeter(const ProgressMeter&) = delete;
  ProgressMeter& operator=(const ProgressMeter&) = delete;

  // `done` counts from the start and does not fall.
  void Update(std::uint64_t done);
  // Draws the end, with the average rate over all, and ends the line. Later calls do nothing.
  void Finish();

 private:
  double Now() const;
  void Draw(double rate);

  std::string label_;
  ProgressState state_;
  std::FILE* out_;
  bool enabled_;
  std::function<double()> seconds_;
  double start_;
  double drawn_at_ = 0;
  std::uint64_t drawn_done_ = 0;
  bool drawn_ = false;
  bool finished_ = false;
};

}  // namespace doppler
