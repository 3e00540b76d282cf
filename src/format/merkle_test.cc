#include "format/merkle.h"

#include <gtest/gtest.h>

#include "base/alloc_guard.h"

namespace doppler {
namespace {

std::vector<std::byte> Pattern(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + (i >> 8) * 13);
  return bytes;
}

struct KnownRoot {
  std::size_t size;
  const char* root;
};

// Computed with Python's hashlib over the whole padded tree, level by level.
constexpr std::array<KnownRoot, 8> kRoots = {{
    {1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
    {16384, "127c52d4afc9d4e335b94d914f75fbf75b5dc62e6dbd31c6d71c868fc23e5fe5"},
    {16385, "ed50aa6f263172ac5097e54684d484dd9036bae3d7c729b4ede1bd2a125514fe"},
    {32768, "abae7acbff7f2317d64e0ebd1b52da894d06421cca59caea56e72435c8e74fa2"},
    {40960, "ca2f05d87cf68d3c390bfc252c3dfba70ac3b51a1d0b9044263b18400808d851"},
    {81920, "6d5d04ccbe1afa33801b46b50679bad4cdea50c98255486a25f32b50afc5b130"},
    {100000, "7d067149858c7c9d3295bcb8528bd143d49a5e7ffcbb8873372314e1923c6921"},
    {180229, "17c5439aceaecb000c8d4ddcc8d38af6a5e351968c63302ac5f4a65fcffdef65"},
}};

TEST(MerkleRoot, KnownAnswers) {
  for (const auto& [size, root] : kRoots) {
    EXPECT_EQ(ToHex(MerkleRootOf(Pattern(size))), root) << size;
  }
}

TEST(MerkleHasher, PortionsDoNotMatter) {
  for (const auto& [size, root] : kRoots) {
    const std::vector<std::byte> bytes = Pattern(size);
    for (const std::size_t portion : {1000u, 16384u, 16385u, 50000u}) {
      MerkleHasher hasher;
      std::vector<Digest> leaves;
      const auto keep = [&](const Digest& leaf) { leaves.push_back(leaf); };
      for (std::size_t at = 0; at < size; at += portion) {
        hasher.Update(std::span(bytes).subspan(at, std::min(portion, size - at)), keep);
      }
      EXPECT_EQ(ToHex(hasher.Finish(keep)), root) << size << " by " << portion;
      ASSERT_EQ(leaves.size(), (size + kLeafBytes - 1) / kLeafBytes);
      EXPECT_EQ(ToHex(MerkleRoot(leaves)), root);
      const std::size_t last = (leaves.size() - 1) * kLeafBytes;
      EXPECT_EQ(leaves.back(), Sha256(std::span(bytes).subspan(last)));
    }
  }
}

TEST(MerkleHasher, EveryByteCounts) {
  std::vector<std::byte> bytes = Pattern(3 * kLeafBytes);
  const Digest root = MerkleRootOf(bytes);
  for (const std::size_t at : {std::size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
    bytes[at] ^= std::byte{1};
    EXPECT_NE(MerkleRootOf(bytes), root) << at;
    bytes[at] ^= std::byte{1};
  }
}

TEST(MerkleNodes, LeadToTheSameRoot) {
  for (const std::size_t size : {2 * kNodeBytes, 2 * kNodeBytes + 1, 3 * kNodeBytes - kLeafBytes,
                                 5 * kNodeBytes + 3 * kLeafBytes + 17, 8 * kNodeBytes}) {
    const std::vector<std::byte> bytes = Pattern(size);
    std::vector<Digest> leaves;
    MerkleHasher hasher;
    hasher.Update(bytes, [&](const Digest& leaf) { leaves.push_back(leaf); });
    const Digest root = hasher.Finish([&](const Digest& leaf) { leaves.push_back(leaf); });
    const std::vector<Digest> nodes = MerkleNodes(leaves);
    ASSERT_EQ(nodes.size(), (size + kNodeBytes - 1) / kNodeBytes);
    EXPECT_EQ(MerkleRootOfNodes(nodes), root) << size;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const auto rest = std::span(bytes).subspan(i * kNodeBytes);
      EXPECT_EQ(MerkleNodeOf(rest.first(std::min<std::size_t>(rest.size(), kNodeBytes))), nodes[i]);
    }
  }
}

// Only the dev preset, which replaces malloc, can fail here.
TEST(MerkleRoot, DoesNotAllocate) {
  const std::vector<std::byte> bytes = Pattern(100000);
  const Digest first = MerkleRootOf(bytes);
  MerkleHasher hasher;
  const NoAllocScope scope;
  hasher.Update(bytes);
  const Digest streamed = hasher.Finish();
  const Digest again = MerkleRootOf(bytes);
  const AllowAllocScope allowed;
  EXPECT_EQ(streamed, first);
  EXPECT_EQ(again, first);
}

TEST(Digest, HexRoundTrip) {
  const Digest digest = Sha256({});
  EXPECT_EQ(DigestFromHex(ToHex(digest)), digest);
  EXPECT_FALSE(DigestFromHex(""));
  EXPECT_FALSE(DigestFromHex(std::string(63, 'a')));
  EXPECT_FALSE(DigestFromHex(std::string(65, 'a')));
  EXPECT_FALSE(DigestFromHex(std::string(63, 'a') + "g"));
}

}  // namespace
}  // namespace doppler
