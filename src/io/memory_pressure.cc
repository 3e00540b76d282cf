#include "io/memory_pressure.h"

#include <charconv>
#include <string>

#include "base/error.h"
#include "io/cgroup.h"
#include "io/machine_files.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPressureAdvice = "is it a pressure file of Linux?";

// "12.34", at most 100.
std::optional<double> ParsePercent(std::string_view text) {
  double percent = 0;
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, percent, std::chars_format::fixed);
  const bool valid = status == std::errc() && rest == end && percent >= 0 && percent <= 100;
  return valid ? std::optional(percent) : std::nullopt;
}

// One line of a pressure file, and how it is called in messages.
class StallLine {
 public:
  StallLine(std::string_view line, std::string_view where)
      : words_(SplitWords(line)), where_(where) {}

  std::string_view kind() const { return words_.empty() ? std::string_view() : words_[0]; }

  StallTimes Read() const {
    return {.average_10 = Number("avg10", ParsePercent),
            .average_60 = Number("avg60", ParsePercent),
            .average_300 = Number("avg300", ParsePercent),
            .total_microseconds = Number("total", ParseNumber)};
  }

 private:
  template <typename Value>
  Value Number(std::string_view name, std::optional<Value> (*parse)(std::string_view)) const {
    const std::string_view text = Field(name);
    const std::optional<Value> value = parse(text);
    if (!value) {
      Throw("{}: '{}' is no value for {} of the line '{}'; {}", where_, text, name, kind(),
            kPressureAdvice);
    }
    return *value;
  }

  std::string_view Field(std::string_view name) const {
    std::optional<std::string_view> found;
    for (const std::string_view word : words_) {
      const std::size_t equals = word.find('=');
      if (equals == word.npos || word.substr(0, equals) != name) continue;
      if (found) {
        Throw("{}: the line '{}' has {} twice; {}", where_, kind(), name, kPressureAdvice);
      }
      found = word.substr(equals + 1);
    }
    if (!found) Throw("{}: the line '{}' has no {}; {}", where_, kind(), name, kPressureAdvice);
    return *found;
  }

  const std::vector<std::string_view> words_;
  const std::string_view where_;
};

// Whether the kernel counts there: files of a kernel that was told not to cannot be read.
bool HoldsPressure(const fs::path& file) { return ReadKernelLine(file).has_value(); }

}  // namespace

MemoryPressure ParseMemoryPressure(std::string_view text, std::string_view where) {
  std::optional<StallTimes> some;
  std::optional<StallTimes> full;
  for (const std::string_view line : SplitLines(text)) {
    const StallLine stalls(line, where);
    if (stalls.kind() != "some" && stalls.kind() != "full") continue;
    std::optional<StallTimes>& times = stalls.kind() == "some" ? some : full;
    if (times) Throw("{}: the line '{}' is there twice; {}", where, stalls.kind(), kPressureAdvice);
    times = stalls.Read();
  }
  if (!some) Throw("{}: there is no line 'some'; {}", where, kPressureAdvice);
  return {.some = *some, .full = full};
}

std::optional<fs::path> FindMemoryPressureFile(const fs::path& root) {
  const std::optional<CgroupMemory> group = DetectCgroupMemory(root);
  if (group && group->version == 2 && HoldsPressure(group->path / "memory.pressure")) {
    return group->path / "memory.pressure";
  }
  fs::path machine = Below(root, "/proc/pressure/memory");
  if (!HoldsPressure(machine)) return std::nullopt;
  return machine;
}

MemoryPressure ReadMemoryPressure(const fs::path& file) {
  const std::optional<std::string> text = ReadKernelFile(file);
  if (!text) Throw("cannot read '{}'; {}", file.string(), kPressureAdvice);
  return ParseMemoryPressure(*text, file.string());
}

}  // namespace doppler
