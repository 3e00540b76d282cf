#include "model/rope.h"

#include <cmath>

namespace doppler {

Rope RopeOf(const ModelConfig& config, const RopeScaling& scaling) {
  Rope rope{.frequencies = std::vector<float>(static_cast<std::size_t>(config.RotaryDim() / 2)),
            .magnitude = scaling.magnitude};
  for (std::size_t i = 0; i < rope.frequencies.size(); ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / config.RotaryDim();
    const double factor = scaling.factors.empty() ? 1.0 : scaling.factors[i];
    rope.frequencies[i] = static_cast<float>(std::pow(config.rope_theta, exponent) / factor);
  }
  return rope;
}

void FillRope(const Rope& rope, int first_position, Rows cos, Rows sin) {
  for (int t = 0; t < cos.rows; ++t) {
    const auto position = static_cast<float>(first_position + t);
    for (std::size_t i = 0; i < rope.frequencies.size(); ++i) {
      // The product is rounded to float first, as the hub's models were trained with.
      const float angle = position * rope.frequencies[i];
      cos.Row(t)[i] = std::cos(angle) * rope.magnitude;
      sin.Row(t)[i] = std::sin(angle) * rope.magnitude;
    }
  }
}

}  // namespace doppler
