#include "store/artifact.h"

#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"
#include "io/mapped_memory.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kPortion = 4 * kMiB;

std::size_t LeafCount(Bytes size) {
  return static_cast<std::size_t>((size + kLeafBytes - 1) / kLeafBytes);
}

fs::path LeavesPath(const fs::path& folder, const ShardEntry& shard) {
  return (folder / shard.file).replace_extension(".leaves");
}

// Whether each node's worth of bytes (the last may be shorter) has its hash.
bool VerifyNodes(std::span<const std::byte> bytes, std::span<const Digest> expected) {
  for (std::size_t i = 0; !bytes.empty(); ++i) {
    const auto part = bytes.first(std::min<std::size_t>(bytes.size(), kNodeBytes));
    if (MerkleNodeOf(part) != expected[i]) return false;
    bytes = bytes.subspan(part.size());
  }
  return true;
}

bool VerifyLeaves(std::span<const std::byte> bytes, std::span<const Digest> expected) {
  bool same = true;
  auto next = expected.begin();
  Sha256OfParts(bytes, kLeafBytes, [&](const Digest& leaf) { same &= leaf == *next++; });
  return same;
}

Manifest ReadManifest(const fs::path& folder, Digest& id) {
  const fs::path path = folder / "manifest.json";
  if (!fs::exists(path)) {
    Throw("'{}' is not a model: it has no manifest.json; make one with 'doppler convert'",
          folder.string());
  }
  const std::string text = ReadTextFile(path);
  id = Sha256(std::as_bytes(std::span(text)));
  return ParseManifest(text, path.string());
}

}  // namespace

Artifact::Artifact(const fs::path& folder, std::optional<std::size_t> open_files,
                   ShardSource* source)
    : folder_(folder), manifest_(ReadManifest(folder, id_)), leaves_(manifest_.shards.size()) {
  OpenShards(open_files, source);
  for (std::size_t i = 0; i < manifest_.shards.size(); ++i) {
    if (manifest_.shards[i].type != ShardType::kExpert) LoadLeaves(ShardId(i));
  }
  LoadNodes();
}

void Artifact::OpenShards(std::optional<std::size_t> open_files, ShardSource* source) {
  const std::span<const ShardEntry> shards = manifest_.shards;
  const std::size_t limit =
      open_files ? *open_files : RaiseOpenFileLimit(shards.size() + kOtherFiles);
  files_ = std::make_unique<ShardFiles>(folder_, shards, MostExpertFiles(shards, limit), source);
}

void Artifact::LoadLeaves(ShardId id) {
  const ShardEntry& shard = Shard(id);
  const fs::path path = LeavesPath(folder_, shard);
  std::vector<Digest>& leaves = leaves_[id.index()];
  leaves.reserve(LeafCount(shard.size));
  Digest root{};
  if (fs::exists(path)) {
    const File file(path, OpenMode::kRead);
    if (file.Size() != LeafCount(shard.size) * sizeof(Digest)) {
      Throw("'{}' has the wrong size; delete it and it will be computed again", path.string());
    }
    leaves.resize(LeafCount(shard.size));
    file.ReadOnce(0, std::as_writable_bytes(std::span(leaves)));
    root = MerkleRoot(leaves);
  } else {
    root = HashShardFile(
        folder_ / shard.file, [](Bytes) {}, &leaves);
  }
  if (root == shard.hash) return;
  if (!fs::exists(path)) {
    throw Error(DamageMessage({.shard = id, .offset = 0, .size = shard.size}));
  }
  Throw(
      "'{}' does not match the manifest; delete it and it will be computed again from the shard, "
      "or run 'doppler verify {}' to see whether the shard is damaged too",
      path.string(), folder_.string());
}

void Artifact::LoadNodes() {
  const fs::path path = folder_ / kNodesFile;
  std::size_t count = 0;
  for (const ShardEntry& shard : manifest_.shards) {
    first_node_.push_back(count);
    count += NodeCount(shard);
  }
  if (count == 0 || !fs::exists(path)) return;
  const File file(path, OpenMode::kRead);
  if (file.Size() != count * sizeof(Digest)) {
    Throw("'{}' has the wrong size; delete it: experts are then checked whole", path.string());
  }
  nodes_.resize(count);
  file.ReadOnce(0, std::as_writable_bytes(std::span(nodes_)));
  for (std::size_t i = 0; i < manifest_.shards.size(); ++i) {
    const ShardEntry& shard = manifest_.shards[i];
    if (NodeCount(shard) == 0) continue;
    const auto nodes = std::span(nodes_).subspan(first_node_[i], NodeCount(shard));
    if (MerkleRootOfNodes(nodes) == shard.hash) continue;
    Throw(
        "'{}' does not match the manifest at the shard '{}'; delete it: experts are then checked "
        "whole",
        path.string(), shard.file);
  }
}

Bytes Artifact::Grain(ShardId id) const {
  if (Shard(id).type != ShardType::kExpert) return kLeafBytes;
  return HasNodes(id) ? kNodeBytes : Shard(id).size;
}

Extent Artifact::Cover(ShardId id, Bytes offset, Bytes size) const {
  const ShardEntry& shard = Shard(id);
  if (shard.type == ShardType::kExpert) return {.shard = id, .offset = 0, .size = shard.size};
  const Bytes begin = AlignDown(offset, kLeafBytes);
  const Bytes end = std::min(AlignUp(offset + size, kLeafBytes), shard.size);
  return {.shard = id, .offset = begin, .size = end - begin};
}

bool Artifact::Verify(const Extent& extent, std::span<const std::byte> bytes) const {
  DOPPLER_CHECK(bytes.size() == extent.size);
  const ShardId id = extent.shard;
  if (HasNodes(id)) {
    const auto nodes = std::span(nodes_).subspan(first_node_[id.index()], NodeCount(Shard(id)));
    return VerifyNodes(bytes, nodes.subspan(extent.offset / kNodeBytes));
  }
  if (Shard(id).type == ShardType::kExpert) return MerkleRootOf(bytes) == Shard(id).hash;
  const std::span<const Digest> leaves = leaves_[id.index()];
  return VerifyLeaves(bytes, leaves.subspan(extent.offset / kLeafBytes));
}

std::string Artifact::DamageMessage(const Extent& extent) const {
  return fmt::format(
      "the shard '{}' is damaged: its bytes {} to {} do not have the hash that the manifest gives; "
      "copy it again, convert again or fetch it again with 'doppler pull' ('doppler verify {}' "
      "lists every damaged shard)",
      (folder_ / Shard(extent.shard).file).string(), extent.offset, extent.offset + extent.size,
      folder_.string());
}

Bytes Artifact::LeafTableBytes() const {
  Bytes total = 0;
  for (const std::vector<Digest>& leaves : leaves_) total += leaves.size() * sizeof(Digest);
  return total + nodes_.size() * sizeof(Digest);
}

void ReadVerified(const Artifact& artifact, const Extent& extent, std::span<std::byte> out) {
  const ShardPin pin = artifact.files().Pin(extent.shard);
  if (pin.error() != 0) throw Error(artifact.files().ReadProblem(extent.shard, pin.error()));
  pin.file().ReadAt(extent.offset, out);
  if (!artifact.Verify(extent, out)) throw Error(artifact.DamageMessage(extent));
}

Digest HashShardFile(const fs::path& path, const std::function<void(Bytes)>& on_progress,
                     std::vector<Digest>* leaves) {
  const File file(path, OpenMode::kDirect);
  const MappedMemory buffer(kPortion);
  MerkleHasher hasher;
  const auto keep = [leaves](const Digest& leaf) {
    if (leaves != nullptr) leaves->push_back(leaf);
  };
  const Bytes size = file.Size();
  for (Bytes offset = 0; offset < size;) {
    ThrowIfInterrupted();
    const auto portion = buffer.span().first(std::min<Bytes>(kPortion, size - offset));
    file.ReadAt(offset, portion);
    hasher.Update(portion, keep);
    offset += portion.size();
    on_progress(portion.size());
  }
  if (size == 0) Throw("'{}' is empty", path.string());
  return hasher.Finish(keep);
}

}  // namespace doppler
