#include "io/cgroup.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "io/file.h"
#include "io/machine_files.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// Version 1 has no word for "no limit": it is the largest number of pages, in bytes, which differs
// with the page size (9223372036854771712 for 4 KiB). No machine has this much memory.
constexpr Bytes kNoLimit = Bytes{1} << 62;

struct Group {
  int version = 0;
  fs::path path;  // with the root, to be read
};

bool HasWord(std::string_view comma_separated, std::string_view word) {
  while (!comma_separated.empty()) {
    const std::string_view first = comma_separated.substr(0, comma_separated.find(','));
    if (first == word) return true;
    comma_separated.remove_prefix(std::min(comma_separated.size(), first.size() + 1));
  }
  return false;
}

// The path that /proc/self/cgroup gives for a version 1 controller, or for version 2 if
// `controller` is empty. A line is "4:memory:/path" or "0::/path"; the path may hold colons.
std::optional<fs::path> PathInHierarchy(std::string_view self_cgroup, std::string_view controller) {
  for (const std::string_view line : SplitLines(self_cgroup)) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == line.npos ? line.npos : line.find(':', first + 1);
    if (second == line.npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const bool matches = controller.empty() ? controllers.empty() && line.substr(0, first) == "0"
                                            : HasWord(controllers, controller);
    if (matches) return fs::path(line.substr(second + 1));
  }
  return std::nullopt;
}

bool PointsUpwards(const fs::path& path) {
  return std::find(path.begin(), path.end(), "..") != path.end();
}

// Where below `top` the group stands, if the group `mounted` is mounted there. A container often
// sees its own group as the mount's root while /proc/self/cgroup gives the path on the host; then
// the mount's root is the best answer.
fs::path FolderOfGroup(const fs::path& top, const fs::path& mounted, const fs::path& group) {
  const fs::path inside = group.lexically_relative(mounted);
  if (!inside.empty() && !PointsUpwards(inside)) {
    fs::path folder = WithoutTrailingSlash((top / inside).lexically_normal());
    if (fs::is_directory(folder)) return folder;
  }
  return top;
}

// This process's group and those above it, as far up as they are mounted.
std::vector<Group> GroupsWith(std::string_view controller, const fs::path& root) {
  std::vector<Group> groups;
  const std::optional<std::string> self = ReadKernelFile(Below(root, "/proc/self/cgroup"));
  if (!self) return groups;
  for (const Mount& mount : ReadMounts(root)) {
    const bool version_1 = mount.file_system == "cgroup" && HasWord(mount.options, controller);
    if (!version_1 && mount.file_system != "cgroup2") continue;
    const auto group = PathInHierarchy(*self, version_1 ? controller : std::string_view());
    if (!group) continue;
    const int version = version_1 ? 1 : 2;
    const fs::path top = WithoutTrailingSlash(Below(root, mount.point).lexically_normal());
    for (fs::path folder = FolderOfGroup(top, mount.root, *group); folder != top;
         folder = folder.parent_path()) {
      groups.push_back({.version = version, .path = folder});
    }
    groups.push_back({.version = version, .path = top});
  }
  return groups;
}

void KeepSmaller(std::optional<Bytes>& smallest, std::optional<Bytes> candidate) {
  if (!candidate || *candidate >= kNoLimit) return;
  smallest = smallest ? std::min(*smallest, *candidate) : *candidate;
}

std::optional<Bytes> StatNumber(std::string_view statistics, std::string_view name) {
  const std::optional<std::string_view> field = FieldOf(statistics, name);
  return field ? ParseNumber(*field) : std::nullopt;
}

// `cache` names the count that includes the groups below, as the usage does.
Bytes UnreclaimableBytes(const fs::path& usage_file, std::string_view statistics,
                         std::string_view cache) {
  const Bytes usage = ReadKernelNumber(usage_file).value_or(0);
  const Bytes reclaimable = StatNumber(statistics, cache).value_or(0);
  return usage > reclaimable ? usage - reclaimable : 0;
}

std::optional<CgroupMemory> MemoryOfVersion1(const fs::path& path) {
  const std::string statistics = ReadKernelFile(path / "memory.stat").value_or("");
  std::optional<Bytes> limit;
  KeepSmaller(limit, ReadKernelNumber(path / "memory.limit_in_bytes"));
  // Knows of limits above the part of the hierarchy that is mounted here.
  KeepSmaller(limit, StatNumber(statistics, "hierarchical_memory_limit"));
  if (!limit) return std::nullopt;
  return CgroupMemory{.version = 1,
                      .path = path,
                      .limit = *limit,
                      .used_unreclaimable = UnreclaimableBytes(path / "memory.usage_in_bytes",
                                                               statistics, "total_inactive_file")};
}

std::optional<CgroupMemory> MemoryOfVersion2(const fs::path& path) {
  std::optional<Bytes> limit;
  KeepSmaller(limit, ReadKernelNumber(path / "memory.max"));
  // Above `high` the kernel slows the group down until it has given memory back.
  KeepSmaller(limit, ReadKernelNumber(path / "memory.high"));
  if (!limit) return std::nullopt;
  const std::string statistics = ReadKernelFile(path / "memory.stat").value_or("");
  return CgroupMemory{.version = 2,
                      .path = path,
                      .limit = *limit,
                      .used_unreclaimable =
                          UnreclaimableBytes(path / "memory.current", statistics, "inactive_file")};
}

std::optional<double> Quota(std::optional<std::uint64_t> quota,
                            std::optional<std::uint64_t> period) {
  if (!quota || !period || *quota == 0 || *period == 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

std::optional<double> ProcessorsOf(const Group& group) {
  // Version 1 writes -1 and version 2 "max" for no quota; neither is a number here.
  if (group.version == 1) {
    return Quota(ReadKernelNumber(group.path / "cpu.cfs_quota_us"),
                 ReadKernelNumber(group.path / "cpu.cfs_period_us"));
  }
  const std::string line = ReadKernelLine(group.path / "cpu.max").value_or("");
  const std::vector<std::string_view> words = SplitWords(line);
  if (words.size() != 2) return std::nullopt;
  return Quota(ParseNumber(words[0]), ParseNumber(words[1]));
}

}  // namespace

std::optional<CgroupMemory> DetectCgroupMemory(const fs::path& root) {
  std::optional<CgroupMemory> tightest;
  for (const Group& group : GroupsWith("memory", root)) {
    const std::optional<CgroupMemory> memory =
        group.version == 1 ? MemoryOfVersion1(group.path) : MemoryOfVersion2(group.path);
    if (memory && (!tightest || memory->room() < tightest->room())) tightest = memory;
  }
  return tightest;
}

std::optional<double> DetectCgroupProcessors(const fs::path& root) {
  std::optional<double> fewest;
  for (const Group& group : GroupsWith("cpu", root)) {
    const std::optional<double> processors = ProcessorsOf(group);
    if (processors) fewest = std::min(*processors, fewest.value_or(*processors));
  }
  return fewest;
}

}  // namespace doppler
