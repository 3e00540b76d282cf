// How often durations of each size were seen, in a fixed table: for quantiles of what happens too
// often to keep, without allocating.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace doppler {

// One thread at a time.
class TimeCounts {
 public:
  // Durations below a microsecond count as that, those of a minute and more as a minute.
  void Add(double seconds);
  std::uint64_t total() const;
  // The duration that a part `part`, 0 to 1, of all did not exceed, too long by at most 10 %;
  // nothing if there are none.
  std::optional<double> Quantile(double part) const;

  // What was added between two readings.
  friend TimeCounts operator-(const TimeCounts& after, const TimeCounts& before);

 private:
  // Each bin ends 2^(1/8) times, that is 9 %, above the one before.
  static constexpr std::size_t kBinsPerDoubling = 8;
  static constexpr std::size_t kDoublings = 26;
  std::array<std::uint32_t, kBinsPerDoubling * kDoublings> counts_{};
};

}  // namespace doppler
