// The files with which parts of shards can be verified: a leaf file beside each shard that is read
// in parts, and the one file of nodes of expert shards. See docs/format.md.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "format/manifest.h"
#include "format/merkle.h"

namespace doppler {

// All functions throw Error when writing fails.
class PartHashes {
 public:
  // `folder` is the artifact's, with a folder for shards.
  explicit PartHashes(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Takes the leaf hashes of the manifest's next shard; every shard must come by.
  void Add(const ShardEntry& shard, std::span<const Digest> leaves);
  // Writes what belongs to all shards together.
  void Finish() const;

 private:
  std::filesystem::path folder_;
  std::vector<Digest> nodes_;  // of the expert shards so far
};

}  // namespace doppler
