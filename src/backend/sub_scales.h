// The packed 6-bit sub-scales and sub-minimums of q4_k and q5_k; block_layout.h has the packing.
#pragma once

#include <array>
#include <cstdint>

namespace doppler {

struct SubScales {
  std::array<std::uint8_t, 8> scales{};    // 0 to 63
  std::array<std::uint8_t, 8> minimums{};  // 0 to 63
};

inline SubScales UnpackSubScales(const std::uint8_t* packed) {
  SubScales out;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned scale = packed[i];
    const unsigned minimum = packed[4 + i];
    const unsigned low = packed[8 + i];
    out.scales[i] = static_cast<std::uint8_t>(scale & 63u);
    out.minimums[i] = static_cast<std::uint8_t>(minimum & 63u);
    out.scales[4 + i] = static_cast<std::uint8_t>((low & 15u) | ((scale >> 6) << 4));
    out.minimums[4 + i] = static_cast<std::uint8_t>((low >> 4) | ((minimum >> 6) << 4));
  }
  return out;
}

inline void PackSubScales(const SubScales& in, std::uint8_t* packed) {
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned scale = in.scales[4 + i];
    const unsigned minimum = in.minimums[4 + i];
    packed[i] = static_cast<std::uint8_t>(in.scales[i] | ((scale >> 4) << 6));
    packed[4 + i] = static_cast<std::uint8_t>(in.minimums[i] | ((minimum >> 4) << 6));
    packed[8 + i] = static_cast<std::uint8_t>((scale & 15u) | ((minimum & 15u) << 4));
  }
}

}  // namespace doppler
