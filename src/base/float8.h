// 8-bit floats to float, as the OCP "8-bit Floating Point" (E4M3) and "Microscaling" (E8M0)
// specifications say.
#pragma once

#include <bit>
#include <cstdint>

namespace doppler {

// Four bits of exponent with bias 7, three of mantissa, no infinities: 0x7f and 0xff are no number.
constexpr float E4M3ToFloat(std::uint8_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x80u) << 24;
  const std::uint32_t magnitude = bits & 0x7fu;
  if (magnitude == 0x7f) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (magnitude >= 8) return std::bit_cast<float>(sign | ((magnitude << 20) + 0x3c000000u));
  const float size = static_cast<float>(magnitude) * 0x1p-9f;
  return sign != 0 ? -size : size;
}

// Half of the power of two that E8M0 stands for: 2^(bits - 128). Exact, 0xff included, which ggml
// does not treat as "no number" either.
constexpr float HalfE8M0ToFloat(std::uint8_t bits) {
  if (bits < 2) return std::bit_cast<float>(0x00200000u << bits);
  return std::bit_cast<float>((std::uint32_t{bits} - 1) << 23);
}

}  // namespace doppler
