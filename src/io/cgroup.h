// What the control group ("container") of this process lets it use.
//
// Version 1 and version 2 hierarchies are read, and both where a machine has both. A limit may be
// set on the group itself or on any group above it, and each is charged with all that runs below
// it; the group with the least room left is the one that counts. Nothing here fails: a file that is
// missing or malformed sets no limit.
#pragma once

#include <filesystem>
#include <optional>

#include "base/bytes.h"

namespace doppler {

struct CgroupMemory {
  int version = 0;             // 1 or 2
  std::filesystem::path path;  // the group's folder, as seen from this process
  Bytes limit = 0;
  // Charged to the group now, less the file cache that the kernel can drop at once.
  Bytes used_unreclaimable = 0;

  Bytes room() const { return limit > used_unreclaimable ? limit - used_unreclaimable : 0; }
};

// The group with the least room among this process's group and those above it; nothing when none
// has a limit. `root` is where /proc and /sys are looked for.
std::optional<CgroupMemory> DetectCgroupMemory(const std::filesystem::path& root = "/");

// How many processors' worth of time the group may use, such as 1.5; nothing without a quota.
std::optional<double> DetectCgroupProcessors(const std::filesystem::path& root = "/");

}  // namespace doppler
