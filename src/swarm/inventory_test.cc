#include "swarm/inventory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"

namespace doppler {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A manifest of one piece, a dense shard of two, and experts of two, one and one pieces.
Manifest SampleManifest() {
  Manifest manifest;
  const auto add = [&](const char* file, const char* key, Bytes pieces) {
    ShardEntry shard;
    shard.file = file;
    shard.type = *key == '\0' ? ShardType::kDense : ShardType::kExpert;
    shard.expert_key = key;
    shard.size = pieces * kPieceBytes;
    manifest.shards.push_back(shard);
  };
  add("shards/00000.bin", "", 2);
  add("shards/00001.bin", "10_0", 2);
  add("shards/00002.bin", "2_11", 1);
  add("shards/00003.bin", "2_3", 1);
  return manifest;
}

Torrent SampleTorrentOf(const Manifest& manifest) {
  Torrent torrent;
  torrent.name = "sample";
  torrent.files.push_back({.path = "manifest.json", .size = 100, .root = {}, .layer = {}});
  for (const ShardEntry& shard : manifest.shards) {
    torrent.files.push_back(
        {.path = shard.file, .size = shard.size, .root = shard.hash, .layer = {}});
  }
  return torrent;
}

Holder HolderOf(std::vector<std::uint8_t> pieces) {
  Holder holder;
  holder.peer.pieces = std::move(pieces);
  return holder;
}

TEST(InventoryTest, CountsWhoHasWhat) {
  const Manifest manifest = SampleManifest();
  const Torrent torrent = SampleTorrentOf(manifest);
  // Pieces: manifest 0, dense 1 2, expert 10_0 3 4, 2_11 5, 2_3 6.
  const Inventory inventory =
      CountHolders(torrent, ExpertsOf(torrent, manifest),
                   {HolderOf({0b11111110}), HolderOf({0b11110100}), HolderOf({})});
  EXPECT_EQ(inventory.pieces, 7u);
  EXPECT_EQ(inventory.holders[0].pieces, 7u);
  EXPECT_EQ(inventory.holders[0].experts, 3u);
  // Half of an expert is none.
  EXPECT_EQ(inventory.holders[1].pieces, 5u);
  EXPECT_EQ(inventory.holders[1].experts, 1u);
  EXPECT_EQ(inventory.holders[2].pieces, 0u);
  std::vector<std::string> names;
  for (const ExpertHolders& expert : inventory.experts) {
    names.push_back(fmt::format("{}_{}:{}", expert.layer, expert.expert, expert.holders));
  }
  EXPECT_THAT(names, ElementsAre("2_3:1", "2_11:2", "10_0:1"));
  EXPECT_EQ(inventory.experts[0].holder, 0u);
  EXPECT_THAT(inventory.CountByHolders(), ElementsAre(0, 2, 1, 0));
}

TEST(InventoryTest, NobodyIsThere) {
  const Manifest manifest = SampleManifest();
  const Torrent torrent = SampleTorrentOf(manifest);
  const Inventory inventory = CountHolders(torrent, ExpertsOf(torrent, manifest), {});
  EXPECT_THAT(inventory.CountByHolders(), ElementsAre(3));
}

TEST(InventoryTest, TheManifestMustBeTheTorrents) {
  Manifest manifest = SampleManifest();
  const Torrent torrent = SampleTorrentOf(manifest);
  manifest.shards[1].hash.fill(1);
  EXPECT_THAT(MessageOf([&] { ExpertsOf(torrent, manifest); }), HasSubstr("00001.bin"));
}

TEST(InventoryTest, NamesFromStrangersArePlain) {
  EXPECT_EQ(PlainClientName("doppler 1.0"), "doppler 1.0");
  EXPECT_EQ(PlainClientName("\x1b[2Jx\xff"), "?[2Jx?");
  EXPECT_EQ(PlainClientName(std::string(1000, 'x')).size(), 48u);
}

}  // namespace
}  // namespace doppler
