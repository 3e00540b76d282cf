#include "store/verify.h"

#include <mutex>

#include <fmt/format.h>

#include "base/interrupt.h"
#include "base/thread_pool.h"
#include "format/manifest.h"
#include "io/file.h"
#include "store/artifact.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

Manifest Load(const fs::path& folder) {
  const fs::path path = folder / "manifest.json";
  return ParseManifest(ReadTextFile(path), path.string());
}

// What is wrong with one shard; empty if nothing is.
std::string Inspect(const fs::path& folder, const ShardEntry& shard,
                    const std::function<void(Bytes)>& on_progress) {
  const fs::path path = folder / shard.file;
  std::error_code error;
  const Bytes size = fs::file_size(path, error);
  if (error) return "cannot be read: " + error.message();
  if (size != shard.size) return fmt::format("has {} bytes instead of {}", size, shard.size);
  try {
    if (HashShardFile(path, on_progress) != shard.hash) return "does not have its hash";
  } catch (const InterruptedError&) {
    return "";  // the caller looks at the flag itself
  } catch (const Error& failure) {
    return failure.what();
  }
  return "";
}

}  // namespace

Bytes ArtifactBytes(const fs::path& folder) {
  Bytes total = 0;
  for (const ShardEntry& shard : Load(folder).shards) total += shard.size;
  return total;
}

VerifyReport VerifyArtifact(const fs::path& folder, int threads,
                            const std::function<void(Bytes)>& on_progress) {
  const Manifest manifest = Load(folder);
  std::vector<std::string> problems(manifest.shards.size());
  VerifyReport report;
  report.shards = manifest.shards.size();
  std::mutex mutex;
  const auto count = [&](Bytes bytes) {
    const std::lock_guard lock(mutex);
    report.bytes += bytes;
    on_progress(report.bytes);
  };
  ThreadPool pool(threads);
  pool.ParallelFor(manifest.shards.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end && !Interrupted(); ++i) {
      problems[i] = Inspect(folder, manifest.shards[i], count);
    }
  });
  ThrowIfInterrupted();
  for (std::size_t i = 0; i < problems.size(); ++i) {
    if (!problems[i].empty()) report.damaged.push_back({manifest.shards[i].file, problems[i]});
  }
  return report;
}

}  // namespace doppler
