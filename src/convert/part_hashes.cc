#include "convert/part_hashes.h"

#include "io/file.h"

namespace doppler {
namespace {

void WriteDigests(const std::filesystem::path& path, std::span<const Digest> digests) {
  File file(path, OpenMode::kCreate);
  file.Write(std::as_bytes(digests));
  file.Sync();
}

}  // namespace

void PartHashes::Add(const ShardEntry& shard, std::span<const Digest> leaves) {
  if (shard.type != ShardType::kExpert) {
    WriteDigests(folder_ / LeavesFileOf(shard), leaves);
  } else if (NodeCount(shard) > 0) {
    const std::vector<Digest> nodes = MerkleNodes(leaves);
    nodes_.insert(nodes_.end(), nodes.begin(), nodes.end());
  }
}

void PartHashes::Finish() const {
  if (!nodes_.empty()) WriteDigests(folder_ / kNodesFile, nodes_);
}

}  // namespace doppler
