#include "swarm/sidecars.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "io/replace_file.h"

namespace doppler {
namespace {

constexpr std::size_t kNodePieces = kNodeBytes / kPieceBytes;

void AppendNodes(std::span<const Digest> layer, std::vector<Digest>& nodes) {
  for (std::size_t begin = 0; begin < layer.size(); begin += kNodePieces) {
    MerkleFolder folder(kPieceLevel);
    for (const Digest& piece : layer.subspan(begin, std::min(kNodePieces, layer.size() - begin))) {
      folder.Add(piece);
    }
    nodes.push_back(folder.RootOfHeight(kNodeLevel - kPieceLevel));
  }
}

}  // namespace

void WriteLeaves(const std::filesystem::path& folder, const ShardEntry& shard,
                 std::span<const Digest> leaves) {
  ReplaceFile(folder / LeavesFileOf(shard), std::as_bytes(leaves));
}

void WriteNodes(const std::filesystem::path& folder, const Manifest& manifest,
                const Torrent& torrent) {
  std::vector<Digest> nodes;
  for (const ShardEntry& shard : manifest.shards) {
    const std::size_t count = NodeCount(shard);
    if (count == 0) continue;
    const TorrentFile* file = torrent.Find(shard.file);
    DOPPLER_CHECK(file != nullptr);
    if (file->layer.empty()) return;
    const std::size_t before = nodes.size();
    AppendNodes(file->layer, nodes);
    DOPPLER_CHECK(nodes.size() - before == count);
  }
  if (!nodes.empty()) ReplaceFile(folder / kNodesFile, std::as_bytes(std::span(nodes)));
}

}  // namespace doppler
