#include <algorithm>
#include <array>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "io/machine.h"
#include "io/machine_files.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

Bytes RequiredField(const std::string& text, std::string_view name) {
  const std::optional<Bytes> bytes = KilobyteField(text, name);
  if (!bytes) {
    Throw(
        "/proc/meminfo does not give {}, so the memory of this machine is unknown; "
        "set the budget with --host-memory",
        name);
  }
  return *bytes;
}

// The soft limit on a line of /proc/self/limits: "Max data size   unlimited   unlimited   bytes".
std::optional<Bytes> SoftLimit(std::string_view limits, std::string_view name) {
  const std::optional<std::string_view> field = FieldOf(limits, name);
  if (!field) return std::nullopt;
  const std::vector<std::string_view> words = SplitWords(*field);
  return words.empty() ? std::nullopt : ParseNumber(words.front());
}

// What a limit of the process leaves; nothing without a limit.
std::optional<Bytes> RoomUnder(std::optional<Bytes> limit, std::optional<Bytes> used) {
  if (!limit) return std::nullopt;
  return *limit > used.value_or(0) ? *limit - used.value_or(0) : 0;
}

// A field of /proc/self/status without allocating: it is sampled while a model runs.
Bytes StatusField(std::string_view name) {
  std::array<char, 4096> buffer;
  const int descriptor = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return 0;
  const ssize_t got = ::read(descriptor, buffer.data(), buffer.size());
  ::close(descriptor);
  if (got <= 0) return 0;
  const std::string_view text(buffer.data(), static_cast<std::size_t>(got));
  return KilobyteField(text, name).value_or(0);
}

void Explain(MemoryInfo& memory) {
  std::vector<std::string>& lines = memory.explanation;
  lines.push_back(fmt::format("{} physical, {} available now", FormatSize(memory.physical),
                              FormatSize(memory.available)));
  if (memory.cgroup) {
    const CgroupMemory& group = *memory.cgroup;
    lines.push_back(fmt::format("control group {} (version {}) allows {}, of which {} are in use",
                                group.path.string(), group.version, FormatSize(group.limit),
                                FormatSize(group.used_unreclaimable)));
  }
  if (memory.address_space_room) {
    lines.push_back(fmt::format("ulimit -v leaves {} of address space",
                                FormatSize(*memory.address_space_room)));
  }
  if (memory.data_room) {
    lines.push_back(fmt::format("ulimit -d leaves {} of data", FormatSize(*memory.data_room)));
  }
  lines.push_back(fmt::format("{} usable", FormatSize(memory.usable)));
}

}  // namespace

MemoryInfo DetectMemory(const fs::path& root) {
  const std::string meminfo = ReadKernelFile(Below(root, "/proc/meminfo")).value_or("");
  const std::string status = ReadKernelFile(Below(root, "/proc/self/status")).value_or("");
  const std::string limits = ReadKernelFile(Below(root, "/proc/self/limits")).value_or("");
  MemoryInfo memory;
  memory.physical = RequiredField(meminfo, "MemTotal");
  memory.available = RequiredField(meminfo, "MemAvailable");
  memory.cgroup = DetectCgroupMemory(root);
  memory.address_space_room =
      RoomUnder(SoftLimit(limits, "Max address space"), KilobyteField(status, "VmSize"));
  memory.data_room = RoomUnder(SoftLimit(limits, "Max data size"), KilobyteField(status, "VmData"));

  memory.usable = memory.available;
  if (memory.cgroup) memory.usable = std::min(memory.usable, memory.cgroup->room());
  memory.usable = std::min({memory.usable, memory.address_space_room.value_or(memory.usable),
                            memory.data_room.value_or(memory.usable)});
  Explain(memory);
  return memory;
}

Bytes CurrentResidentBytes() { return StatusField("VmRSS"); }

std::uint64_t MajorFaults() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_majflt);
}

Bytes PeakResidentBytes() {
  // Not getrusage: its peak survives exec, so it may be that of the program that started this one.
  return StatusField("VmHWM");
}

}  // namespace doppler
