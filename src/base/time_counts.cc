#include "base/time_counts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace doppler {
namespace {

constexpr double kShortest = 1e-6;

}  // namespace

void TimeCounts::Add(double seconds) {
  const double doublings = std::log2(std::max(seconds, kShortest) / kShortest);
  const double bin = std::ceil(doublings * static_cast<double>(kBinsPerDoubling));
  ++counts_[static_cast<std::size_t>(std::min(bin, static_cast<double>(counts_.size() - 1)))];
}

std::uint64_t TimeCounts::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0});
}

std::optional<double> TimeCounts::Quantile(double part) const {
  const std::uint64_t all = total();
  if (all == 0) return std::nullopt;
  const double wanted = std::max(part * static_cast<double>(all), 1.0);
  std::uint64_t upto = 0;
  std::size_t bin = 0;
  while (static_cast<double>(upto += counts_[bin]) < wanted && bin + 1 < counts_.size()) ++bin;
  return kShortest * std::exp2(static_cast<double>(bin) / static_cast<double>(kBinsPerDoubling));
}

TimeCounts operator-(const TimeCounts& after, const TimeCounts& before) {
  TimeCounts out;
  for (std::size_t i = 0; i < out.counts_.size(); ++i) {
    out.counts_[i] = after.counts_[i] - before.counts_[i];
  }
  return out;
}

}  // namespace doppler
