#include "model/rope.h"

#include <cmath>

namespace doppler {

std::vector<float> RopeFrequencies(const ModelConfig& config) {
  std::vector<float> frequencies(static_cast<std::size_t>(config.head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / config.head_dim;
    const double factor = config.rope_factors.empty() ? 1.0 : config.rope_factors[i];
    frequencies[i] = static_cast<float>(std::pow(config.rope_theta, exponent) / factor);
  }
  return frequencies;
}

void FillRope(const std::vector<float>& frequencies, int first_position, Rows cos, Rows sin) {
  for (int t = 0; t < cos.rows; ++t) {
    const auto position = static_cast<float>(first_position + t);
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      // The product is rounded to float first, as the hub's models were trained with.
      const float angle = position * frequencies[i];
      cos.Row(t)[i] = std::cos(angle);
      sin.Row(t)[i] = std::sin(angle);
    }
  }
}

}  // namespace doppler
