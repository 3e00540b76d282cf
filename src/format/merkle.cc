#include "format/merkle.h"

#include <algorithm>
#include <bit>

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include "base/error.h"

namespace doppler {
namespace {

// OpenSSL's own interface for hashes (EVP) allocates whenever a context is started; the functions
// below it do not, and use the same SHA instructions of the processor.
Digest Hash(std::span<const std::byte> bytes) {
  SHA256_CTX context;
  Digest digest;
  const bool done = SHA256_Init(&context) == 1 &&
                    SHA256_Update(&context, bytes.data(), bytes.size()) == 1 &&
                    SHA256_Final(digest.data(), &context) == 1;
  DOPPLER_CHECK(done);
  return digest;
}

Digest HashPair(const Digest& left, const Digest& right) {
  std::array<Digest, 2> pair = {left, right};
  return Hash(std::as_bytes(std::span(pair)));
}

// The root of 2^level zero hashes.
Digest ZeroTree(int level) {
  Digest zeros{};
  for (int i = 0; i < level; ++i) zeros = HashPair(zeros, zeros);
  return zeros;
}

int HexValue(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

MerkleFolder FoldLeaves(std::span<const std::byte> bytes) {
  MerkleFolder folder;
  while (!bytes.empty()) {
    const auto leaf = bytes.first(std::min<std::size_t>(bytes.size(), kLeafBytes));
    folder.Add(Hash(leaf));
    bytes = bytes.subspan(leaf.size());
  }
  return folder;
}

constexpr auto kIgnoreLeaf = [](const Digest& /*leaf*/) {};

}  // namespace

std::string ToHex(const Digest& digest) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * digest.size());
  for (const std::uint8_t byte : digest) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

std::optional<Digest> DigestFromHex(std::string_view hex) {
  Digest digest;
  if (hex.size() != 2 * digest.size()) return std::nullopt;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const int high = HexValue(hex[2 * i]);
    const int low = HexValue(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return digest;
}

Digest Sha256(std::span<const std::byte> bytes) { return Hash(bytes); }

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

void MerkleHasher::AddLeaf(std::span<const std::byte> leaf, OnLeaf on_leaf) {
  const Digest digest = Hash(leaf);
  folder_.Add(digest);
  on_leaf(digest);
}

void MerkleHasher::Update(std::span<const std::byte> bytes, OnLeaf on_leaf) {
  if (!partial_.empty()) {
    const std::size_t taken = std::min<std::size_t>(bytes.size(), kLeafBytes - partial_.size());
    partial_.insert(partial_.end(), bytes.begin(),
                    bytes.begin() + static_cast<std::ptrdiff_t>(taken));
    bytes = bytes.subspan(taken);
    if (partial_.size() < kLeafBytes) return;
    AddLeaf(partial_, on_leaf);
    partial_.clear();
  }
  for (; bytes.size() >= kLeafBytes; bytes = bytes.subspan(kLeafBytes)) {
    AddLeaf(bytes.first(kLeafBytes), on_leaf);
  }
  partial_.insert(partial_.end(), bytes.begin(), bytes.end());
}

void MerkleHasher::Update(std::span<const std::byte> bytes) { Update(bytes, kIgnoreLeaf); }

Digest MerkleHasher::Finish(OnLeaf on_leaf) {
  if (!partial_.empty()) AddLeaf(partial_, on_leaf);
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
