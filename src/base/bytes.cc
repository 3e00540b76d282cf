#include "base/bytes.h"

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"

namespace doppler {
namespace {

// The power of 1024 that a unit letter stands for, or nothing.
std::optional<int> UnitPower(std::string_view unit) {
  if (unit.empty()) return 0;
  constexpr std::string_view kLetters = "BKMGT";
  const char first = static_cast<char>(std::toupper(static_cast<unsigned char>(unit.front())));
  const std::size_t power = kLetters.find(first);
  if (power == std::string_view::npos) return std::nullopt;
  const std::string_view rest = unit.substr(1);
  const bool plain = rest.empty();
  const bool suffixed = power > 0 && (rest == "B" || rest == "b" || rest == "iB" || rest == "ib");
  if (!plain && !suffixed) return std::nullopt;
  return static_cast<int>(power);
}

}  // namespace

Bytes ParseSize(std::string_view text) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, number);
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  const std::optional<int> power = UnitPower(unit);
  if (status != std::errc() || !power || !std::isfinite(number) || number < 0) {
    Throw("'{}' is not a size; write a number with an optional K, M or G, such as 512M or 1.5G",
          text);
  }
  const double bytes = std::ldexp(number, 10 * *power);
  if (bytes >= std::ldexp(1.0, 63)) Throw("the size '{}' is too large", text);
  return static_cast<Bytes>(bytes);
}

std::string FormatSize(Bytes bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  return fmt::format("{:.{}f} {}", value, value < 10 ? 2 : value < 100 ? 1 : 0, kUnits[unit]);
}

}  // namespace doppler
