// Any bytes as a pressure file: refused, or percentages.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "io/memory_pressure.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppler;  // NOLINT: a program of its own
  const auto check = [](const StallTimes& times) {
    for (const double percent : {times.average_10, times.average_60, times.average_300}) {
      DOPPLER_CHECK(percent >= 0 && percent <= 100);
    }
  };
  try {
    const MemoryPressure pressure =
        ParseMemoryPressure({reinterpret_cast<const char*>(data), size}, "input");
    check(pressure.some);
    if (pressure.full) check(*pressure.full);
  } catch (const Error&) {
  }
  return 0;
}
