// The hash of a shard: the BitTorrent v2 file root (BEP 52).
//
// A shard is cut into leaves of 16 KiB (the last may be shorter), each leaf is hashed with SHA-256,
// and the hashes are the leaves of a binary tree whose width is padded to a power of two with zero
// hashes. One number then serves the manifest, the check of a whole shard, the check of a part
// (against the list of leaf hashes) and the swarm.
//
//   40 KiB:   root = H(H(h0 h1) H(h2 0))    h2 covers the last 8 KiB
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/function_ref.h"
#include "format/sha256.h"

namespace doppler {

inline constexpr Bytes kLeafBytes = 16 * kKiB;

// Bytes under one node that is kept of an expert shard, so that a part of it can be checked as soon
// as it has arrived: 2^kNodeLevel leaves. One hash for so many bytes is 1/8192 of them.
inline constexpr int kNodeLevel = 4;
inline constexpr Bytes kNodeBytes = kLeafBytes << kNodeLevel;

// The root over leaf hashes. REQUIRES: leaves is not empty. Does not allocate.
Digest MerkleRoot(std::span<const Digest> leaves);

// The nodes of `kNodeLevel` over leaf hashes, from left to right: each the root of a tree that is
// padded to its full width with zero hashes. REQUIRES: leaves is not empty.
std::vector<Digest> MerkleNodes(std::span<const Digest> leaves);
// The node over up to kNodeBytes of bytes that are at hand. REQUIRES: not empty. Does not allocate.
Digest MerkleNodeOf(std::span<const std::byte> bytes);
// The root over such nodes. REQUIRES: at least two nodes: a shard that has but one is a smaller
// tree with a root of its own. Does not allocate.
Digest MerkleRootOfNodes(std::span<const Digest> nodes);

// The root over leaf hashes that come one after the other, or over nodes of a level above them.
// Does not allocate.
class MerkleFolder {
 public:
  explicit MerkleFolder(int level = 0) : level_(level) {}
  void Add(const Digest& leaf);
  // The root over all leaves so far. REQUIRES: at least one.
  Digest Root() const;
  // The root of a tree of 2^height leaves, those that are missing being zero.
  // REQUIRES: at least one leaf and at most so many.
  Digest RootOfHeight(int height) const;

 private:
  int level_;  // of what is added: 0 for leaves
  // The root of a full subtree of 2^level leaves stands in subtrees_[level] while bit `level` of
  // count_ is set, as in a binary counter.
  std::array<Digest, 64> subtrees_{};
  std::uint64_t count_ = 0;
};

// The root over bytes, and on the way each leaf's hash. Bytes may come in any portions. Does not
// allocate after construction.
class MerkleHasher {
 public:
  using OnLeaf = FunctionRef<void(const Digest&)>;

  MerkleHasher();
  // Adds the next bytes. Calls on_leaf for each leaf that this completes.
  void Update(std::span<const std::byte> bytes, OnLeaf on_leaf);
  void Update(std::span<const std::byte> bytes);
  // Completes the last leaf, for which on_leaf is called unless it was complete, and returns the
  // root. REQUIRES: at least one byte was added.
  Digest Finish(OnLeaf on_leaf);
  Digest Finish();

 private:
  void AddLeaves(std::span<const std::byte> leaves, OnLeaf on_leaf);

  MerkleFolder folder_;
  std::vector<std::byte> partial_;  // [0, kLeafBytes): the beginning of a leaf
};

// The root of bytes that are all at hand. REQUIRES: not empty. Does not allocate.
Digest MerkleRootOf(std::span<const std::byte> bytes);

}  // namespace doppler
