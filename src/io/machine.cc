#include "io/machine.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include "base/error.h"
#include "io/machine_files.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

struct Feature {
  std::string_view linux_name;  // in /proc/cpuinfo
  std::string_view name;
};

// The processor features that a kernel of ours could ask for. Linux spells Arm's its own way.
constexpr std::array kFeatures = {
    Feature{"avx", "avx"},
    Feature{"avx2", "avx2"},
    Feature{"fma", "fma"},
    Feature{"f16c", "f16c"},
    Feature{"avx_vnni", "avx_vnni"},
    Feature{"avx512f", "avx512f"},
    Feature{"avx512bw", "avx512bw"},
    Feature{"avx512vl", "avx512vl"},
    Feature{"avx512_vnni", "avx512_vnni"},
    Feature{"avx512_bf16", "avx512_bf16"},
    Feature{"avx512_fp16", "avx512_fp16"},
    Feature{"amx_tile", "amx_tile"},
    Feature{"amx_int8", "amx_int8"},
    Feature{"amx_bf16", "amx_bf16"},
    Feature{"sha_ni", "sha_ni"},
    Feature{"asimd", "neon"},
    Feature{"asimdhp", "fp16"},
    Feature{"asimddp", "dotprod"},
    Feature{"i8mm", "i8mm"},
    Feature{"bf16", "bf16"},
    Feature{"sve", "sve"},
    Feature{"sve2", "sve2"},
    Feature{"sme", "sme"},
    Feature{"sha2", "sha2"},
};

std::vector<std::string> ReadFeatures(std::string_view cpuinfo) {
  std::optional<std::string_view> line = FieldOf(cpuinfo, "flags");
  if (!line) line = FieldOf(cpuinfo, "Features");
  std::vector<std::string> features;
  if (!line) return features;
  const std::vector<std::string_view> words = SplitWords(*line);
  for (const Feature& feature : kFeatures) {
    if (std::find(words.begin(), words.end(), feature.linux_name) != words.end()) {
      features.emplace_back(feature.name);
    }
  }
  return features;
}

std::string ReadModel(std::string_view cpuinfo, const fs::path& root) {
  // Arm has no "model name"; boards give theirs in the device tree, ended by a zero byte.
  if (const auto name = FieldOf(cpuinfo, "model name")) return std::string(*name);
  std::string board = ReadKernelLine(Below(root, "/proc/device-tree/model")).value_or("unknown");
  board.resize(std::min(board.size(), board.find('\0')));
  return board;
}

// "32768K" or "32M", as /sys writes the size of a cache.
Bytes ReadCacheSize(const fs::path& path) {
  const std::string line = ReadKernelLine(path).value_or("");
  try {
    return line.empty() ? 0 : ParseSize(line);
  } catch (const Error&) {
    return 0;
  }
}

std::vector<CacheInfo> ReadCaches(const fs::path& root) {
  std::vector<CacheInfo> caches;
  const fs::path folder = Below(root, "/sys/devices/system/cpu/cpu0/cache");
  for (int index = 0; fs::exists(folder / fmt::format("index{}", index)); ++index) {
    const fs::path cache = folder / fmt::format("index{}", index);
    const Bytes size = ReadCacheSize(cache / "size");
    if (size == 0) continue;
    caches.push_back({.level = static_cast<int>(ReadKernelNumber(cache / "level").value_or(0)),
                      .type = ReadKernelLine(cache / "type").value_or("Unified"),
                      .size = size});
  }
  std::stable_sort(caches.begin(), caches.end(),
                   [](const CacheInfo& a, const CacheInfo& b) { return a.level < b.level; });
  return caches;
}

int UsefulThreads(int cores, std::optional<double> quota) {
  if (!quota) return cores;
  return std::clamp(static_cast<int>(std::ceil(std::min(*quota, 1e6))), 1, cores);
}

}  // namespace

bool ProcessorInfo::Has(std::string_view feature) const {
  return std::find(features.begin(), features.end(), feature) != features.end();
}

Bytes ProcessorInfo::LastLevelCache() const {
  Bytes largest = 0;
  for (const CacheInfo& cache : caches) largest = std::max(largest, cache.size);
  return largest;
}

int AllowedCores() {
  // The fixed-size set holds 1024 cores; a larger machine needs a larger set.
  for (int capacity = 1024; capacity <= 1 << 20; capacity *= 4) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(capacity));
    const std::size_t size = CPU_ALLOC_SIZE(static_cast<std::size_t>(capacity));
    const bool known = ::sched_getaffinity(0, size, set) == 0;
    const int count = known ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
  return static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

ProcessorInfo DetectProcessor(const fs::path& root, int cores) {
  const std::string cpuinfo = ReadKernelFile(Below(root, "/proc/cpuinfo")).value_or("");
  const std::optional<double> quota = DetectCgroupProcessors(root);
  return {.model = ReadModel(cpuinfo, root),
          .cores = cores,
          .quota = quota,
          .threads = UsefulThreads(cores, quota),
          .features = ReadFeatures(cpuinfo),
          .caches = ReadCaches(root)};
}

MachineInfo DetectMachine(const fs::path& root) {
  return {
      .memory = DetectMemory(root),
      .processor = DetectProcessor(root),
      // A kernel may have the file and still refuse to open it (psi=0).
      .reports_memory_pressure = ReadKernelLine(Below(root, "/proc/pressure/memory")).has_value()};
}

}  // namespace doppler
