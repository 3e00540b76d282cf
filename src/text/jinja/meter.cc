#include "text/jinja/meter.h"

#include "base/error.h"

namespace doppler::jinja {

void Meter::Step(std::size_t count) {
  steps_ += count;
  if (steps_ > limits_.steps) {
    Throw("the template takes more than {} steps; it may never end", limits_.steps);
  }
}

void Meter::Make(std::size_t bytes) {
  constexpr std::size_t kBytesPerStep = 1024;
  Step(1 + bytes / kBytesPerStep);
  memory_ += bytes;
  if (memory_ > limits_.memory) {
    Throw("the template makes more than {} of text and lists", FormatSize(limits_.memory));
  }
}

void Meter::Reserve(std::uint64_t count, std::uint64_t bytes) {
  const auto size = CheckedMul(count, bytes);
  if (!size || *size > limits_.memory) {
    Throw("the template makes more than {} of text and lists", FormatSize(limits_.memory));
  }
  Make(static_cast<std::size_t>(*size));
}

void Meter::CheckOutput(std::size_t size) const {
  if (size > limits_.output) Throw("the text gets longer than {}", FormatSize(limits_.output));
}

Meter::Level::Level(Meter& meter) : meter_(meter) {
  if (meter_.level_ >= meter_.limits_.recursion) {
    Throw("macros, loops or expressions are inside each other more than {} deep",
          meter_.limits_.recursion);
  }
  ++meter_.level_;
}

}  // namespace doppler::jinja
