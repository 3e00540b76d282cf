// `doppler verify`: rehashes every shard of an artifact.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace doppler {

struct DamagedShard {
  std::string file;
  std::string problem;  // "missing", "has 4096 bytes instead of 8192", "hash differs"
};

struct VerifyReport {
  std::size_t shards = 0;
  Bytes bytes = 0;                    // read and hashed
  std::vector<DamagedShard> damaged;  // in the manifest's order
};

// The bytes that VerifyArtifact will read, for its progress.
Bytes ArtifactBytes(const std::filesystem::path& folder);

// Reads the shards on `threads` threads. `on_progress` gets the bytes done so far, from any of
// them, one call at a time. Throws Error for a damaged manifest, InterruptedError on Ctrl-C.
VerifyReport VerifyArtifact(const std::filesystem::path& folder, int threads,
                            const std::function<void(Bytes)>& on_progress);

}  // namespace doppler
