#include "swarm/expert_choice.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace doppler {

std::vector<bool> ChooseExperts(const std::vector<std::size_t>& there, double part,
                                std::uint64_t seed) {
  std::vector<std::size_t> order(there.size());
  std::iota(order.begin(), order.end(), 0);
  std::mt19937_64 random(seed);
  std::shuffle(order.begin(), order.end(), random);
  std::stable_sort(order.begin(), order.end(),
                   [&there](std::size_t a, std::size_t b) { return there[a] > there[b]; });
  const double wanted = std::ceil(std::clamp(part, 0.0, 1.0) * static_cast<double>(there.size()));
  std::vector<bool> chosen(there.size());
  for (std::size_t i = 0; i < static_cast<std::size_t>(wanted); ++i) chosen[order[i]] = true;
  return chosen;
}

}  // namespace doppler
