// A local artifact: its manifest, its open shards, and the check that bytes are what they should
// be.
//
//   Extent (part of a shard) --read by the tier--> bytes --Verify--> usable
//
// Nothing else in the project reads shards, so no byte is used before its hash was checked.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "format/manifest.h"
#include "store/shard_files.h"

namespace doppler {

// A part of a shard that can be checked by itself: it starts on a multiple of the shard's Grain and
// ends on one or at the shard's end.
struct Extent {
  ShardId shard;
  Bytes offset = 0;
  Bytes size = 0;
};

class Artifact {
 public:
  // Reads the manifest, opens every shard without the page cache and compares sizes; not all stay
  // open if this process may not open so many files (`open_files`, or what the system says, which
  // is raised where it may be), see ShardFiles. Leaf hashes of shards that are read in parts are
  // loaded from the sidecar files and checked against the manifest; where a sidecar is missing, the
  // shard is hashed whole, once, here. So are the nodes of expert shards, without whose file such a
  // shard can only be checked as a whole. Throws Error.
  // With a source, which outlives it, expert shards may be missing: see ShardFiles.
  explicit Artifact(const std::filesystem::path& folder,
                    std::optional<std::size_t> open_files = std::nullopt,
                    ShardSource* source = nullptr);

  const std::filesystem::path& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }
  // Any thread.
  ShardFiles& files() const { return *files_; }
  const ShardEntry& Shard(ShardId shard) const { return manifest_.shards[shard.index()]; }

  // SHA-256 of manifest.json: the model's name in the swarm.
  const Digest& id() const { return id_; }

  // What the extents of a shard are multiples of: a leaf; kNodeBytes in an expert shard whose nodes
  // are known; in any other expert shard all of it.
  Bytes Grain(ShardId shard) const;

  // The smallest extent that covers [offset, offset + size) of a shard; all of an expert shard.
  Extent Cover(ShardId shard, Bytes offset, Bytes size) const;

  // Whether `bytes`, read from `extent`, have the hash that the manifest gives. Any thread; does
  // not allocate after a thread's first call. REQUIRES: bytes.size() == extent.size.
  bool Verify(const Extent& extent, std::span<const std::byte> bytes) const;

  // What is wrong with an extent that failed, and what to do: for an Error.
  std::string DamageMessage(const Extent& extent) const;

  // Bytes that the hashes of leaves and nodes take in memory.
  Bytes LeafTableBytes() const;

 private:
  void OpenShards(std::optional<std::size_t> open_files, ShardSource* source);
  void LoadLeaves(ShardId shard);
  void LoadNodes();
  bool HasNodes(ShardId shard) const { return !nodes_.empty() && NodeCount(Shard(shard)) > 0; }

  std::filesystem::path folder_;
  Digest id_{};  // before manifest_: reading that fills it
  Manifest manifest_;
  std::unique_ptr<ShardFiles> files_;
  std::vector<std::vector<Digest>> leaves_;  // [ShardId]; empty for expert shards
  std::vector<Digest> nodes_;                // of all expert shards; empty without their file
  std::vector<std::size_t> first_node_;      // [ShardId], into nodes_
};

// Reads `extent` and verifies it. Throws Error. REQUIRES: out.size() == extent.size, and `out` is
// aligned for direct reads.
void ReadVerified(const Artifact& artifact, const Extent& extent, std::span<std::byte> out);

// The hash of a whole shard file, read in portions without the page cache. Calls `on_progress` with
// the bytes read since the last call, and stops with InterruptedError on Ctrl-C.
Digest HashShardFile(const std::filesystem::path& path,
                     const std::function<void(Bytes)>& on_progress,
                     std::vector<Digest>* leaves = nullptr);

}  // namespace doppler
