#include "swarm/torrent.h"

#include <algorithm>

#include "base/error.h"
#include "swarm/bencode.h"
#include "swarm/torrent_rules.h"

namespace doppler {
namespace {

std::string_view AsText(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

void WriteFile(BencodeWriter& out, std::string_view name, const TorrentFile& file) {
  out.String(name).OpenDict().String("").OpenDict();
  out.String("length").Integer(static_cast<std::int64_t>(file.size));
  out.String("pieces root").String(AsText(file.root));
  out.Close().Close();
}

// The only folder in an artifact is that of the shards, so that the tree has two levels.
void WriteFileTree(BencodeWriter& out, const std::vector<TorrentFile>& files) {
  out.OpenDict();
  bool in_shards = false;
  for (const TorrentFile& file : files) {
    const bool shard = file.path.starts_with(kShardsFolder);
    if (in_shards && !shard) out.Close();
    if (!in_shards && shard) out.String("shards").OpenDict();
    in_shards = shard;
    const std::string_view path = file.path;
    WriteFile(out, shard ? path.substr(kShardsFolder.size()) : path, file);
  }
  if (in_shards) out.Close();
  out.Close();
}

void WriteLayers(BencodeWriter& out, const std::vector<TorrentFile>& files) {
  // Files with the same bytes have one entry.
  std::vector<const TorrentFile*> known;
  for (const TorrentFile& file : files) {
    if (!file.layer.empty()) known.push_back(&file);
  }
  std::sort(known.begin(), known.end(),
            [](const TorrentFile* a, const TorrentFile* b) { return a->root < b->root; });
  known.erase(
      std::unique(known.begin(), known.end(),
                  [](const TorrentFile* a, const TorrentFile* b) { return a->root == b->root; }),
      known.end());
  out.String("piece layers").OpenDict();
  for (const TorrentFile* file : known) {
    const auto bytes = std::as_bytes(std::span(file->layer));
    out.String(AsText(file->root));
    out.String({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  out.Close();
}

void WriteSignature(BencodeWriter& out, const ModelSignature& signature) {
  const auto& [first, second] = signature.signature;
  std::string bytes(AsText(signature.key));
  bytes.append(AsText(first)).append(AsText(second));
  out.String(kSignatureKey).String(bytes);
}

void WriteStrings(BencodeWriter& out, std::string_view key,
                  const std::vector<std::string>& strings) {
  if (strings.empty()) return;
  out.String(key).OpenList();
  for (const std::string& text : strings) out.String(text);
  out.Close();
}

}  // namespace

const TorrentFile* Torrent::Find(std::string_view path) const {
  const auto found = std::lower_bound(
      files.begin(), files.end(), path,
      [](const TorrentFile& file, std::string_view wanted) { return file.path < wanted; });
  return found != files.end() && found->path == path ? &*found : nullptr;
}

std::size_t Torrent::IndexOf(std::string_view path) const {
  const TorrentFile* const file = Find(path);
  DOPPLER_CHECK(file != nullptr);
  return static_cast<std::size_t>(file - files.data());
}

std::size_t PieceCount(const TorrentFile& file) {
  return static_cast<std::size_t>((file.size + kPieceBytes - 1) / kPieceBytes);
}

std::size_t PieceCount(const Torrent& torrent) {
  std::size_t count = 0;
  for (const TorrentFile& file : torrent.files) count += PieceCount(file);
  return count;
}

std::vector<std::size_t> FirstPieces(const Torrent& torrent) {
  std::vector<std::size_t> first = {0};
  for (const TorrentFile& file : torrent.files) first.push_back(first.back() + PieceCount(file));
  return first;
}

bool HasPieceHashes(const TorrentFile& file) {
  return PieceCount(file) == 1 || !file.layer.empty();
}

const Digest& PieceHash(const TorrentFile& file, std::size_t piece) {
  DOPPLER_CHECK(HasPieceHashes(file));
  return PieceCount(file) == 1 ? file.root : file.layer[piece];
}

Digest HashPiece(const TorrentFile& file, std::span<const std::byte> bytes) {
  if (PieceCount(file) == 1) return MerkleRootOf(bytes);
  MerkleFolder folder;
  Sha256OfParts(bytes, kLeafBytes, [&folder](const Digest& leaf) { folder.Add(leaf); });
  return folder.RootOfHeight(kPieceLevel);
}

std::vector<Digest> PieceLayer(std::span<const Digest> leaves) {
  std::vector<Digest> layer;
  if (leaves.size() <= kPieceLeaves) return layer;
  for (std::size_t begin = 0; begin < leaves.size(); begin += kPieceLeaves) {
    MerkleFolder folder;
    for (const Digest& leaf :
         leaves.subspan(begin, std::min(kPieceLeaves, leaves.size() - begin))) {
      folder.Add(leaf);
    }
    layer.push_back(folder.RootOfHeight(kPieceLevel));
  }
  return layer;
}

bool LayerFits(const TorrentFile& file, std::span<const Digest> layer) {
  if (PieceCount(file) < 2 || layer.size() != PieceCount(file)) return false;
  MerkleFolder folder(kPieceLevel);
  for (const Digest& node : layer) folder.Add(node);
  return folder.Root() == file.root;
}

std::string InfoDict(const Torrent& torrent) {
  BencodeWriter out;
  out.OpenDict().String("file tree");
  WriteFileTree(out, torrent.files);
  out.String("meta version").Integer(2);
  out.String("name").String(torrent.name);
  out.String("piece length").Integer(static_cast<std::int64_t>(kPieceBytes));
  if (!torrent.authority.empty()) out.String(kAuthorityKey).String(torrent.authority);
  out.Close();
  return out.Take();
}

Digest InfoHash(const Torrent& torrent) {
  const std::string info = InfoDict(torrent);
  return Sha256(std::as_bytes(std::span(info)));
}

std::string WriteTorrent(const Torrent& torrent) {
  BencodeWriter out;
  out.OpenDict();
  if (!torrent.trackers.empty()) {
    out.String("announce").String(torrent.trackers.front());
    out.String("announce-list").OpenList();
    for (const std::string& tracker : torrent.trackers) out.OpenList().String(tracker).Close();
    out.Close();
  }
  if (torrent.signature) WriteSignature(out, *torrent.signature);
  out.String("info").Raw(InfoDict(torrent));
  WriteLayers(out, torrent.files);
  WriteStrings(out, "url-list", torrent.web_seeds);
  out.Close();
  return out.Take();
}

void RequireSameShards(const Torrent& torrent, const Manifest& manifest) {
  std::size_t shards = 0;
  for (const ShardEntry& shard : manifest.shards) {
    const TorrentFile* file = torrent.Find(shard.file);
    if (file == nullptr) {
      Throw("the torrent does not have the shard '{}' of its manifest", shard.file);
    }
    if (file->size != shard.size || file->root != shard.hash) {
      Throw("the shard '{}' has another size or hash in the torrent than in the manifest",
            shard.file);
    }
    ++shards;
  }
  for (const TorrentFile& file : torrent.files) {
    if (file.path.starts_with(kShardsFolder)) --shards;
  }
  if (shards != 0) Throw("the torrent has shards that are not in its manifest");
}

}  // namespace doppler
