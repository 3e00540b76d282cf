// Short measurements of this machine's disk and memory, for the plan.
//
// Each takes a fraction of a second and memory of a size that is known before. The numbers are
// those of this moment: other work on the machine lowers them.
#pragma once

#include <filesystem>
#include <span>

#include "base/bytes.h"

namespace doppler {

struct ProbeResult {
  Bytes bytes = 0;  // read in all
  double seconds = 0;
  // Reads bypassed the page cache. If not, the disk may be slower than this.
  bool direct = false;

  double bytes_per_second() const { return seconds > 0 ? static_cast<double>(bytes) / seconds : 0; }
};

struct DiskProbeOptions {
  int threads = 4;
  Bytes request = kMiB;  // a multiple of kDirectAlignment
  double seconds = 0.5;  // at most
};

// Reads parts of `files` in scattered order, each at most once, until all are read or the time is
// up. Takes threads * request bytes. Throws Error if a file cannot be read or all are shorter than
// kDirectAlignment.
ProbeResult ProbeDisk(std::span<const std::filesystem::path> files,
                      const DiskProbeOptions& options = {});

struct MemoryProbeOptions {
  int threads = 1;
  Bytes buffer = 64 * kMiB;  // larger than the last-level cache, see MemoryProbeBuffer
  double seconds = 0.05;     // at least, not counting the filling of the buffer
};

// Reads a buffer over and over with several threads, each its own part. Takes `buffer` bytes.
ProbeResult ProbeMemory(const MemoryProbeOptions& options = {});

// A buffer that a last-level cache of this size cannot hold: twice the cache, within bounds.
Bytes MemoryProbeBuffer(Bytes last_level_cache);

}  // namespace doppler
