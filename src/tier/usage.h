// What experts were used for, remembered beside the model from one run to the next.
//
//   a run ends -> SaveUsage -> usage.cache beside manifest.json -> LoadUsage -> the next run starts
//   warm
//
// The file is a hint and nothing depends on it: without it, or where it is damaged, belongs to
// another model or cannot be written, a run starts cold. Layout, little-endian:
//
//   8 bytes "DPLUSAGE", u32 version 1, u32 records, 32 bytes SHA-256 of manifest.json,
//   records x f32 ExpertCache::Usage, 32 bytes SHA-256 of all before
#pragma once

#include <condition_variable>
#include <cstddef>
#include <filesystem>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "format/merkle.h"
#include "tier/expert_cache.h"

namespace doppler {

// The bytes of such a file, and back; nothing for bytes that are not one of this model's.
std::vector<std::byte> SerializeUsage(const Digest& model, std::span<const double> usage);
std::optional<std::vector<double>> ParseUsage(std::span<const std::byte> bytes, const Digest& model,
                                              std::size_t records);

// Says whether it was written. The file is replaced at once or not at all.
bool SaveUsage(const Artifact& artifact, const ExpertCache& cache);
// Nothing if there is no such file or it is not this model's.
std::optional<std::vector<double>> LoadUsage(const Artifact& artifact, std::size_t records);

// Fills a cache's empty slots with what was used most, most used first, on a thread of its own.
// Reads that a run demands meanwhile go first, and it takes the empty slots that it needs.
class WarmStart {
 public:
  // Leaves `spare` slots empty. The cache outlives this.
  WarmStart(ExpertCache& cache, std::span<const double> usage, std::size_t spare);
  // Stops where it stands.
  ~WarmStart();
  WarmStart(const WarmStart&) = delete;
  WarmStart& operator=(const WarmStart&) = delete;

  // Waits until all that fits has been read.
  void Finish();

 private:
  void Run();

  ExpertCache& cache_;
  const std::size_t spare_;
  std::vector<std::size_t> order_;  // keys
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  bool finished_ = false;
  std::thread thread_;
};

}  // namespace doppler
