#include "format/merkle.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "base/error.h"

namespace doppler {
namespace {

Digest HashPair(const Digest& left, const Digest& right) {
  std::array<Digest, 2> pair = {left, right};
  return Sha256(std::as_bytes(std::span(pair)));
}

// The root of 2^level zero hashes.
Digest ZeroTree(int level) {
  Digest zeros{};
  for (int i = 0; i < level; ++i) zeros = HashPair(zeros, zeros);
  return zeros;
}

MerkleFolder FoldLeaves(std::span<const std::byte> bytes) {
  MerkleFolder folder;
  Sha256OfParts(bytes, kLeafBytes, [&folder](const Digest& leaf) { folder.Add(leaf); });
  return folder;
}

constexpr auto kIgnoreLeaf = [](const Digest& /*leaf*/) {};

}  // namespace

void MerkleFolder::Add(const Digest& leaf) {
  Digest subtree = leaf;
  std::size_t level = 0;
  for (; (count_ >> level & 1) != 0; ++level) subtree = HashPair(subtrees_[level], subtree);
  subtrees_[level] = subtree;
  ++count_;
}

Digest MerkleFolder::Root() const {
  DOPPLER_CHECK(count_ > 0);
  return RootOfHeight(std::bit_width(count_ - 1));
}

Digest MerkleFolder::RootOfHeight(int height) const {
  DOPPLER_CHECK(count_ > 0 && count_ <= std::uint64_t{1} << height);
  const auto top = static_cast<std::size_t>(height);
  if (count_ == std::uint64_t{1} << height) return subtrees_[top];
  Digest zeros = ZeroTree(level_);  // the root of 2^level missing leaves
  std::optional<Digest> right;      // the root of all leaves below this level, padded to 2^level
  for (std::size_t level = 0; level < top; ++level) {
    if ((count_ >> level & 1) != 0) {
      right = HashPair(subtrees_[level], right.value_or(zeros));
    } else if (right) {
      right = HashPair(*right, zeros);
    }
    zeros = HashPair(zeros, zeros);
  }
  return *right;
}

Digest MerkleRoot(std::span<const Digest> leaves) {
  DOPPLER_CHECK(!leaves.empty());
  MerkleFolder folder;
  for (const Digest& leaf : leaves) folder.Add(leaf);
  return folder.Root();
}

MerkleHasher::MerkleHasher() { partial_.reserve(kLeafBytes); }

// Whole leaves, of which the last may be shorter.
void MerkleHasher::AddLeaves(std::span<const std::byte> leaves, OnLeaf on_leaf) {
  Sha256OfParts(leaves, kLeafBytes, [&](const Digest& leaf) {
    folder_.Add(leaf);
    on_leaf(leaf);
  });
}

void MerkleHasher::Update(std::span<const std::byte> bytes, OnLeaf on_leaf) {
  if (!partial_.empty()) {
    const std::size_t taken = std::min<std::size_t>(bytes.size(), kLeafBytes - partial_.size());
    partial_.insert(partial_.end(), bytes.begin(),
                    bytes.begin() + static_cast<std::ptrdiff_t>(taken));
    bytes = bytes.subspan(taken);
    if (partial_.size() < kLeafBytes) return;
    AddLeaves(partial_, on_leaf);
    partial_.clear();
  }
  const std::size_t whole = bytes.size() / kLeafBytes * kLeafBytes;
  AddLeaves(bytes.first(whole), on_leaf);
  bytes = bytes.subspan(whole);
  partial_.insert(partial_.end(), bytes.begin(), bytes.end());
}

void MerkleHasher::Update(std::span<const std::byte> bytes) { Update(bytes, kIgnoreLeaf); }

Digest MerkleHasher::Finish(OnLeaf on_leaf) {
  AddLeaves(partial_, on_leaf);
  partial_.clear();
  return folder_.Root();
}

Digest MerkleHasher::Finish() { return Finish(kIgnoreLeaf); }

Digest MerkleRootOf(std::span<const std::byte> bytes) {
  DOPPLER_CHECK(!bytes.empty());
  return FoldLeaves(bytes).Root();
}

std::vector<Digest> MerkleNodes(std::span<const Digest> leaves) {
  DOPPLER_CHECK(!leaves.empty());
  constexpr std::size_t kWidth = std::size_t{1} << kNodeLevel;
  std::vector<Digest> nodes;
  for (std::size_t begin = 0; begin < leaves.size(); begin += kWidth) {
    MerkleFolder folder;
    for (const Digest& leaf : leaves.subspan(begin, std::min(kWidth, leaves.size() - begin))) {
      folder.Add(leaf);
    }
    nodes.push_back(folder.RootOfHeight(kNodeLevel));
  }
  return nodes;
}

Digest MerkleNodeOf(std::span<const std::byte> bytes) {
  DOPPLER_CHECK(!bytes.empty() && bytes.size() <= kNodeBytes);
  return FoldLeaves(bytes).RootOfHeight(kNodeLevel);
}

Digest MerkleRootOfNodes(std::span<const Digest> nodes) {
  DOPPLER_CHECK(nodes.size() >= 2);
  MerkleFolder folder(kNodeLevel);
  for (const Digest& node : nodes) folder.Add(node);
  return folder.Root();
}

}  // namespace doppler
