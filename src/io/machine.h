// What this machine has: memory, processor and disks, as plain values.
//
// Detection reads /proc and /sys below `root`, which tests point at a tree of their own, and takes
// milliseconds. Nothing is cached: call again for fresh numbers. Any thread may call.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "io/cgroup.h"

namespace doppler {

struct MemoryInfo {
  Bytes physical = 0;
  Bytes available = 0;  // free, or cache that the kernel can drop
  std::optional<CgroupMemory> cgroup;
  // What `ulimit -v` and `ulimit -d` leave to this process.
  std::optional<Bytes> address_space_room;
  std::optional<Bytes> data_room;
  // What this process could take beyond what it has: the least of the above.
  Bytes usable = 0;
  std::vector<std::string> explanation;  // how `usable` came about, one fact per line
};

// Throws Error if /proc/meminfo does not say how much memory there is.
MemoryInfo DetectMemory(const std::filesystem::path& root = "/");

// Physical memory that this process holds now and at most held so far, as the kernel counts it.
// File cache counts only where it is mapped. 0 without /proc. Neither allocates.
Bytes CurrentResidentBytes();
Bytes PeakResidentBytes();
// How often this process has waited for the disk because a page was not in memory.
std::uint64_t MajorFaults();

struct CacheInfo {
  int level = 0;
  std::string type;  // "Data", "Instruction" or "Unified"
  Bytes size = 0;
};

struct ProcessorInfo {
  std::string model;
  int cores = 1;                      // logical cores that this process may run on
  std::optional<double> quota;        // processors' worth of time that its control group may use
  int threads = 1;                    // worth starting: `cores`, or fewer under a quota
  std::vector<std::string> features;  // those that kernels ask for: "avx2", "neon", "amx_int8"
  std::vector<CacheInfo> caches;      // of the first core, smallest level first

  bool Has(std::string_view feature) const;
  // The size of the largest cache; 0 if unknown.
  Bytes LastLevelCache() const;
};

// How many cores the scheduler may put this process on.
int AllowedCores();

ProcessorInfo DetectProcessor(const std::filesystem::path& root = "/", int cores = AllowedCores());

struct DiskInfo {
  std::string device;       // "nvme0n1p2"; empty for memory and network file systems
  std::string file_system;  // "ext4"
  std::string model;        // empty if unknown
  std::optional<bool> rotational;
  Bytes total = 0;
  Bytes free = 0;  // to this user
  // Whether reads can bypass the page cache; nothing if there is no file to try it on.
  std::optional<bool> direct_reads;
};

// The disk that holds `path`, a file or a folder. Throws Error if it does not exist.
DiskInfo DetectDisk(const std::filesystem::path& path, const std::filesystem::path& root = "/");

// The part of DetectDisk that reads /proc and /sys: which file system is mounted at the absolute
// `path`, and the block device below it.
DiskInfo DetectMountedDisk(const std::filesystem::path& path, const std::filesystem::path& root);

struct MachineInfo {
  MemoryInfo memory;
  ProcessorInfo processor;
  // Whether the accelerator shares the processor's memory, so that both draw on one budget.
  bool unified_memory = false;
  // Whether the kernel reports how long tasks wait for memory (/proc/pressure/memory).
  bool reports_memory_pressure = false;
};

// Throws Error as DetectMemory does.
MachineInfo DetectMachine(const std::filesystem::path& root = "/");

}  // namespace doppler
