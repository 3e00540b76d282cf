#include "io/progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/bytes.h"

namespace doppler {
namespace {

constexpr double kDrawInterval = 0.1;
// A new rate counts half after this time; shorter makes the time left jump about.
constexpr double kRateHalfLife = 1.5;
constexpr std::size_t kLabelWidth = 14;
constexpr std::size_t kDefaultWidth = 80;

double SteadySeconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

std::string Amount(std::uint64_t amount, ProgressUnit unit) {
  return unit == ProgressUnit::kBytes ? FormatSize(amount) : fmt::format("{}", amount);
}

std::string Rate(double rate, ProgressUnit unit) {
  if (unit == ProgressUnit::kBytes) return FormatSize(static_cast<Bytes>(rate)) + "/s";
  return fmt::format("{:.{}f}/s", rate, rate < 10 ? 1 : 0);
}

std::string Duration(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::ceil(std::min(seconds, 359999.0)));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

// Cuts at `size` bytes or a little before, never inside a UTF-8 character.
std::string_view CutText(std::string_view text, std::size_t size) {
  if (text.size() <= size) return text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0u) == 0x80u) --size;
  return text.substr(0, size);
}

std::size_t TerminalWidth(std::FILE* out) {
  struct winsize size {};
  const bool known = ::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : kDefaultWidth;
}

}  // namespace

std::string ProgressLine(std::string_view label, const ProgressState& state, std::size_t width) {
  std::string numbers = Amount(state.done, state.unit);
  if (state.total > 0) {
    const double fraction =
        static_cast<double>(std::min(state.done, state.total)) / static_cast<double>(state.total);
    numbers += fmt::format(" of {}   {:.0f}%", Amount(state.total, state.unit),
                           std::floor(100 * fraction));
  }
  if (state.rate > 0) numbers += "   " + Rate(state.rate, state.unit);
  if (state.rate > 0 && state.total > state.done) {
    const double left = static_cast<double>(state.total - state.done) / state.rate;
    numbers += fmt::format("   {} left", Duration(left));
  }
  if (width <= numbers.size() + 2) return std::string(CutText(numbers, width));
  const std::size_t room = width - numbers.size() - 2;
  return fmt::format("{:<{}}  {}", CutText(label, room), std::min(kLabelWidth, room), numbers);
}

ProgressMeter::ProgressMeter(std::string label, std::uint64_t total, ProgressOptions options)
    : label_(std::move(label)),
      state_{.total = total, .unit = options.unit},
      out_(options.out),
      enabled_(options.enabled.value_or(::isatty(::fileno(options.out)) == 1)),
      seconds_(options.seconds ? std::move(options.seconds) : SteadySeconds),
      start_(Now()),
      drawn_at_(start_) {}

ProgressMeter::~ProgressMeter() {
  if (drawn_ && !finished_) std::fputc('\n', out_);
}

double ProgressMeter::Now() const { return seconds_(); }

void ProgressMeter::Update(std::uint64_t done) {
  state_.done = std::max(state_.done, done);
  if (!enabled_ || finished_) return;
  const double now = Now();
  const double elapsed = now - drawn_at_;
  if (drawn_ && elapsed < kDrawInterval) return;
  // Of an instant there is no rate.
  if (elapsed >= kDrawInterval) {
    const double rate = static_cast<double>(state_.done - drawn_done_) / elapsed;
    const double keep = state_.rate > 0 ? std::exp2(-elapsed / kRateHalfLife) : 0;
    state_.rate = keep * state_.rate + (1 - keep) * rate;
  }
  drawn_at_ = now;
  drawn_done_ = state_.done;
  Draw(state_.rate);
}

void ProgressMeter::Finish() {
  if (finished_) return;
  finished_ = true;
  if (!enabled_) return;
  const double elapsed = Now() - start_;
  Draw(elapsed > 0 ? static_cast<double>(state_.done) / elapsed : 0);
  std::fputc('\n', out_);
  std::fflush(out_);
}

void ProgressMeter::Draw(double rate) {
  state_.rate = rate;
  // A character in the last column would wrap on some terminals.
  const std::string line = ProgressLine(label_, state_, TerminalWidth(out_) - 1);
  fmt::print(out_, "\r{}\x1b[K", line);
  std::fflush(out_);
  drawn_ = true;
}

}  // namespace doppler
