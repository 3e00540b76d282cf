// Sizes in bytes: units, overflow-checked arithmetic, reading and printing.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace doppler {

using Bytes = std::uint64_t;

inline constexpr Bytes kKiB = 1024;
inline constexpr Bytes kMiB = 1024 * kKiB;
inline constexpr Bytes kGiB = 1024 * kMiB;

// Reads without the page cache need file offsets, lengths and addresses in multiples of this.
inline constexpr Bytes kDirectAlignment = 4096;

// Sums and products of numbers that came from outside; nothing on overflow.
constexpr std::optional<std::uint64_t> CheckedAdd(std::uint64_t a, std::uint64_t b) {
  if (a > std::numeric_limits<std::uint64_t>::max() - b) return std::nullopt;
  return a + b;
}
constexpr std::optional<std::uint64_t> CheckedMul(std::uint64_t a, std::uint64_t b) {
  if (b != 0 && a > std::numeric_limits<std::uint64_t>::max() / b) return std::nullopt;
  return a * b;
}

// REQUIRES: alignment is a power of two and value + alignment does not overflow.
constexpr Bytes AlignUp(Bytes value, Bytes alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}
constexpr Bytes AlignDown(Bytes value, Bytes alignment) { return value & ~(alignment - 1); }

// Reads "512", "64K", "1.5G" or "2GiB" (binary units, any case). Throws Error that names `text`.
Bytes ParseSize(std::string_view text);

// Prints with a binary unit and three significant digits, for people: "1.50 GiB".
std::string FormatSize(Bytes bytes);

}  // namespace doppler
