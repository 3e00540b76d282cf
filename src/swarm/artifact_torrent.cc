#include "swarm/artifact_torrent.h"

#include <algorithm>

#include "base/error.h"
#include "format/artifact_files.h"
#include "io/file.h"
#include "io/replace_file.h"
#include "store/artifact.h"
#include "swarm/torrent_rules.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kMostCacheBytes = 2 * kGiB;

TorrentFile DescribeText(std::string path, std::string_view text) {
  std::vector<Digest> leaves;
  const auto keep = [&leaves](const Digest& leaf) { leaves.push_back(leaf); };
  MerkleHasher hasher;
  hasher.Update(std::as_bytes(std::span(text)), keep);
  const Digest root = hasher.Finish(keep);
  return {.path = std::move(path), .size = text.size(), .root = root, .layer = PieceLayer(leaves)};
}

// The piece layer from the leaf hashes beside a shard; empty if they are not there or not right.
std::vector<Digest> LayerFromLeaves(const fs::path& shard_path, const TorrentFile& file) {
  const fs::path path = fs::path(shard_path).replace_extension(".leaves");
  const std::size_t count = (file.size + kLeafBytes - 1) / kLeafBytes;
  std::error_code error;
  if (fs::file_size(path, error) != count * sizeof(Digest) || error) return {};
  std::vector<Digest> leaves(count);
  File(path, OpenMode::kRead).ReadAt(0, std::as_writable_bytes(std::span(leaves)));
  std::vector<Digest> layer = PieceLayer(leaves);
  return LayerFits(file, layer) ? layer : std::vector<Digest>();
}

void HashLayer(const fs::path& path, TorrentFile& file,
               const std::function<void(Bytes)>& on_progress) {
  std::vector<Digest> leaves;
  if (HashShardFile(path, on_progress, &leaves) != file.root) {
    Throw("the shard '{}' is damaged; copy it again or convert again", path.string());
  }
  file.layer = PieceLayer(leaves);
}

std::optional<Torrent> ReadCache(const fs::path& folder) {
  const fs::path path = folder / kTorrentCache;
  if (!fs::exists(path)) return std::nullopt;
  try {
    return ParseTorrent(ReadTextFile(path, kMostCacheBytes), path.string());
  } catch (const Error&) {
    return std::nullopt;  // a cache that cannot be read is as one that is not there
  }
}

}  // namespace

Torrent DescribeArtifact(const fs::path& folder, const std::string& authority) {
  Manifest manifest;
  return DescribeArtifact(folder, authority, manifest);
}

Torrent DescribeArtifact(const fs::path& folder, const std::string& authority, Manifest& manifest) {
  const std::string text = ReadTextFile(folder / kManifestFile);
  manifest = ParseManifest(text, (folder / kManifestFile).string());
  Torrent torrent;
  torrent.name = manifest.model_id;
  torrent.authority = authority;
  torrent.files.push_back(DescribeText(std::string(kManifestFile), text));
  for (const std::string_view name : kTokenizerFiles) {
    if (!fs::exists(folder / name)) continue;
    const std::string content = ReadTextFile(folder / name);
    // An empty file has no pieces and cannot be fetched.
    if (!content.empty()) torrent.files.push_back(DescribeText(std::string(name), content));
  }
  for (const ShardEntry& shard : manifest.shards) {
    if (!IsShardPath(shard.file)) {
      Throw("the shard '{}' cannot be shared: only names as 'shards/00012.bin' can", shard.file);
    }
    torrent.files.push_back(
        {.path = shard.file, .size = shard.size, .root = shard.hash, .layer = {}});
  }
  std::sort(torrent.files.begin(), torrent.files.end(),
            [](const TorrentFile& a, const TorrentFile& b) { return a.path < b.path; });
  if (PieceCount(torrent) > kMostPieces) {
    Throw("the model is larger than {} and cannot be shared",
          FormatSize(kMostPieces * kPieceBytes));
  }
  return torrent;
}

void FillLayers(const fs::path& folder, Torrent& torrent,
                const std::function<void(Bytes)>& on_progress) {
  TakeCachedLayers(folder, torrent);
  for (TorrentFile& file : torrent.files) {
    if (HasPieceHashes(file)) continue;
    const fs::path path = folder / file.path;
    file.layer = LayerFromLeaves(path, file);
    if (!HasPieceHashes(file) && fs::exists(path)) HashLayer(path, file, on_progress);
  }
}

std::optional<Torrent> ReadTorrentCache(const fs::path& folder, const Digest& info_hash) {
  std::optional<Torrent> torrent = ReadCache(folder);
  if (torrent && InfoHash(*torrent) != info_hash) torrent.reset();
  return torrent;
}

void TakeCachedLayers(const fs::path& folder, Torrent& torrent) {
  std::optional<Torrent> cached = ReadCache(folder);
  if (!cached) return;
  cached->authority = torrent.authority;
  if (InfoHash(*cached) == InfoHash(torrent)) TakeLayers(torrent, *cached);
}

void TakeLayers(Torrent& torrent, const Torrent& known) {
  DOPPLER_CHECK(torrent.files.size() == known.files.size());
  for (std::size_t i = 0; i < torrent.files.size(); ++i) {
    if (!HasPieceHashes(torrent.files[i])) torrent.files[i].layer = known.files[i].layer;
  }
}

bool TakeLayer(Torrent& torrent, std::size_t file, const std::vector<Digest>& layer) {
  if (file >= torrent.files.size()) return false;
  TorrentFile& taker = torrent.files[file];
  if (HasPieceHashes(taker) || !LayerFits(taker, layer)) return false;
  taker.layer = layer;
  return true;
}

void WriteTorrentCache(const fs::path& folder, const Torrent& torrent) {
  const std::string text = WriteTorrent(torrent);
  ReplaceFile(folder / kTorrentCache, std::as_bytes(std::span(text)));
}

}  // namespace doppler
