// How long tasks wait because memory is short, as the kernel counts it ("pressure stall
// information", Documentation/accounting/psi.rst of Linux).
//
//   some avg10=1.53 avg60=0.87 avg300=0.10 total=157656722
//   full avg10=0.00 avg60=0.41 avg300=0.08 total=116842331
//
// The whole machine's counts are in /proc/pressure/memory, those of a control group of version 2 in
// its memory.pressure. Kernels may be built or started without them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

namespace doppler {

struct StallTimes {
  // Percent of the last 10, 60 and 300 seconds.
  double average_10 = 0;
  double average_60 = 0;
  double average_300 = 0;
  std::uint64_t total_microseconds = 0;  // since the machine, or the group, began
};

struct MemoryPressure {
  StallTimes some;                 // in which at least one task waited
  std::optional<StallTimes> full;  // in which all tasks waited that were not idle
};

// Reads such a text. Lines and fields that are not known are passed over. Throws Error, which calls
// the text `where`, if the line "some" or a field of a known line is missing, stands there twice or
// holds no number.
MemoryPressure ParseMemoryPressure(std::string_view text, std::string_view where);

// The file that counts for this process: that of the version 2 group with the least room, if one
// limits it (see DetectCgroupMemory), else the machine's. Nothing if the kernel does not count.
// `root` is where /proc and /sys are looked for. Any thread.
std::optional<std::filesystem::path> FindMemoryPressureFile(
    const std::filesystem::path& root = "/");

// Throws Error if the file cannot be read any more, and as ParseMemoryPressure does.
MemoryPressure ReadMemoryPressure(const std::filesystem::path& file);

}  // namespace doppler
