#include "swarm/torrent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "io/file.h"
#include "store/artifact.h"
#include "swarm/artifact_torrent.h"
#include "swarm/bencode.h"
#include "swarm/certificate.h"
#include "swarm/sample_artifact.h"
#include "swarm/sample_keys.h"

namespace doppler {

using testing::HasSubstr;

namespace {

Torrent SampleTorrent(const std::filesystem::path& folder) {
  WriteSampleArtifact(folder);
  Torrent torrent = DescribeArtifact(folder);
  FillLayers(folder, torrent, [](Bytes) {});
  return torrent;
}

// A torrent of one shard and a manifest, some parts of its text replaced.
std::string TorrentText(const std::string& from = "", const std::string& to = "") {
  const std::string root(32, 'r');
  std::string text = "d4:infod9:file treed13:manifest.jsond0:d6:lengthi9e11:pieces root32:" + root +
                     "ee6:shardsd9:00000.bind0:d6:lengthi4096e11:pieces root32:" + root +
                     "eeee12:meta versioni2e4:name1:m12:piece lengthi65536eee";
  if (!from.empty()) {
    const std::size_t at = text.find(from);
    DOPPLER_CHECK(at != std::string::npos);
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string ProblemWith(const std::string& from, const std::string& to) {
  return MessageOf([&] { ParseTorrent(TorrentText(from, to), "x.torrent"); });
}

}  // namespace

TEST(TorrentTest, IsTheSameForTheSameArtifact) {
  const TempFolder first;
  const TempFolder second;
  const Torrent a = SampleTorrent(first.path() / "one");
  const Torrent b = SampleTorrent(second.path() / "other-name");
  EXPECT_EQ(WriteTorrent(a), WriteTorrent(b));
  // Written down once: another version of Doppler, or machine, must give the same.
  EXPECT_EQ(ToHex(InfoHash(a)), "f6d22567e3aa7b5b3fbf770c36cd987c86707621472a993448eecbdff72b708b");
}

TEST(TorrentTest, HasTheRootsOfTheManifest) {
  const TempFolder temp;
  const Torrent torrent = SampleTorrent(temp.path() / "m");
  const Artifact artifact(temp.path() / "m");
  for (const ShardEntry& shard : artifact.manifest().shards) {
    EXPECT_EQ(torrent.Find(shard.file)->root, shard.hash);
    EXPECT_EQ(torrent.Find(shard.file)->size, shard.size);
  }
  EXPECT_NO_THROW(RequireSameShards(torrent, artifact.manifest()));
  EXPECT_EQ(torrent.name, "sample");
  EXPECT_EQ(PieceCount(torrent), 1u + 2u + 3u + 4 * 5u);
}

TEST(TorrentTest, PieceHashesAreThoseOfTheBytes) {
  const TempFolder temp;
  const Torrent torrent = SampleTorrent(temp.path() / "m");
  for (const TorrentFile& file : torrent.files) {
    const std::string bytes = ReadTextFile(temp.path() / "m" / file.path);
    for (std::size_t piece = 0; piece < PieceCount(file); ++piece) {
      const std::string part = bytes.substr(piece * kPieceBytes, kPieceBytes);
      EXPECT_EQ(HashPiece(file, std::as_bytes(std::span(part))), PieceHash(file, piece));
    }
  }
}

TEST(TorrentTest, NeedsNoShardsForTheInfoHash) {
  const TempFolder temp;
  const Torrent whole = SampleTorrent(temp.path() / "m");
  std::filesystem::remove_all(temp.path() / "m/shards");
  EXPECT_EQ(InfoHash(DescribeArtifact(temp.path() / "m")), InfoHash(whole));
}

TEST(TorrentTest, TakesLayersFromTheCacheAndFromLeaves) {
  const TempFolder temp;
  const std::filesystem::path folder = temp.path() / "m";
  const Torrent whole = SampleTorrent(folder);
  WriteTorrentCache(folder, whole);
  std::filesystem::remove_all(folder / "shards");
  Torrent cached = DescribeArtifact(folder);
  FillLayers(folder, cached, [](Bytes) { ADD_FAILURE() << "hashed"; });
  EXPECT_EQ(WriteTorrent(cached), WriteTorrent(whole));
  // A cache that is damaged is as none: the layers stay unknown, as the shards are away.
  WriteSampleFile(folder / kTorrentCache, WriteTorrent(whole).substr(1));
  Torrent unknown = DescribeArtifact(folder);
  FillLayers(folder, unknown, [](Bytes) {});
  EXPECT_FALSE(HasPieceHashes(*unknown.Find("shards/00001.bin")));

  std::vector<Digest> leaves;
  const std::string dense = SampleBytes(0, 132 * kKiB);
  Sha256OfParts(std::as_bytes(std::span(dense)), kLeafBytes,
                [&leaves](const Digest& leaf) { leaves.push_back(leaf); });
  WriteSampleFile(folder / "shards/00000.leaves",
                  {reinterpret_cast<const char*>(leaves.data()), leaves.size() * sizeof(Digest)});
  FillLayers(folder, unknown, [](Bytes) {});
  EXPECT_TRUE(HasPieceHashes(*unknown.Find("shards/00000.bin")));
}

TEST(TorrentTest, RefusesToDescribeADamagedShard) {
  const TempFolder temp;
  const std::filesystem::path folder = temp.path() / "m";
  WriteSampleArtifact(folder);
  WriteSampleFile(folder / "shards/00002.bin", SampleBytes(77, 320 * kKiB));
  Torrent torrent = DescribeArtifact(folder);
  EXPECT_THAT(MessageOf([&] { FillLayers(folder, torrent, [](Bytes) {}); }),
              HasSubstr("00002.bin' is damaged"));
}

TEST(TorrentTest, ReadsWhatItWrites) {
  const TempFolder temp;
  Torrent torrent = SampleTorrent(temp.path() / "m");
  torrent.trackers = {"udp://tracker.test:80", "http://other.test/announce"};
  torrent.web_seeds = {"https://mirror.test/models/"};
  const std::string text = WriteTorrent(torrent);
  const Torrent again = ParseTorrent(text, "x");
  EXPECT_EQ(WriteTorrent(again), text);
  EXPECT_EQ(again.trackers, torrent.trackers);
  EXPECT_EQ(again.web_seeds, torrent.web_seeds);
  EXPECT_EQ(InfoHash(ParseInfoDict(InfoDict(torrent), "peer")), InfoHash(torrent));
}

TEST(TorrentTest, RefusesWhatNoModelHas) {
  EXPECT_NO_THROW(ParseTorrent(TorrentText(), "x"));
  EXPECT_THAT(ProblemWith("9:00000.bin", "9:../../bin"), HasSubstr("name that no file of a model"));
  EXPECT_THAT(ProblemWith("9:00000.bin", "2:.."), HasSubstr("no file of the name 'shards/..'"));
  EXPECT_THAT(ProblemWith("13:manifest.json", "13:/etc/password"), HasSubstr("has a name that"));
  EXPECT_THAT(ProblemWith("13:manifest.json", "13:manifest_json"),
              HasSubstr("no file of the name"));
  EXPECT_THAT(ProblemWith("6:lengthi4096e", "6:lengthi4097e"), HasSubstr("cannot have 4097 bytes"));
  EXPECT_THAT(ProblemWith("6:lengthi4096e", "6:lengthi0e"), HasSubstr("cannot have 0 bytes"));
  EXPECT_THAT(ProblemWith("6:lengthi4096e", "6:lengthi-4096e"), HasSubstr("cannot have -4096"));
  EXPECT_THAT(ProblemWith("i9e", "i268435457e"), HasSubstr("cannot have 268435457 bytes"));
  EXPECT_THAT(ProblemWith("d6:lengthi4096e", "d4:attr1:l6:lengthi4096e"), HasSubstr("has a key"));
  EXPECT_THAT(ProblemWith("i65536e", "i131072e"), HasSubstr("'piece length' is not 65536"));
  EXPECT_THAT(ProblemWith("12:meta versioni2e", "12:meta versioni3e"), HasSubstr("is not 2"));
  EXPECT_THAT(ProblemWith("12:meta versioni2e", ""), HasSubstr("version 2 alone"));
  EXPECT_THAT(ProblemWith("4:name1:m", "4:name2:.m"), HasSubstr("'name' is not a model's"));
  EXPECT_THAT(ProblemWith("i65536ee", "i65536e7:privatei1ee"), HasSubstr("'info' has a key"));
  EXPECT_THAT(ProblemWith("i65536eee", "i65536ee12:piece layersd1:a0:ee"), HasSubstr("not a hash"));
  EXPECT_THAT(ProblemWith("d4:info", "d8:announce9:ftp://a.b4:info"), HasSubstr("a tracker's"));
}

TEST(TorrentTest, ATeamsTorrentHasItsAuthority) {
  const TempFolder temp;
  Torrent torrent = SampleTorrent(temp.path() / "m");
  const Digest plain = InfoHash(torrent);
  torrent.authority = kSampleAuthority;
  EXPECT_NE(InfoHash(torrent), plain);
  EXPECT_EQ(ParseTorrent(WriteTorrent(torrent), "x").authority, kSampleAuthority);
  const std::string info = InfoDict(torrent);
  EXPECT_EQ(InfoDict(ParseInfoDict(info, "peer")), info);
  // Piece layers are the same, whoever's torrent was kept.
  WriteTorrentCache(temp.path() / "m", torrent);
  std::filesystem::remove_all(temp.path() / "m/shards");
  Torrent cached = DescribeArtifact(temp.path() / "m");
  FillLayers(temp.path() / "m", cached, [](Bytes) { ADD_FAILURE() << "hashed"; });
  EXPECT_EQ(InfoHash(cached), plain);
}

TEST(TorrentTest, RefusesAnAuthorityThatIsNone) {
  const auto problem = [](const std::string& authority) {
    return ProblemWith("i65536ee",
                       fmt::format("i65536e8:ssl-cert{}:{}e", authority.size(), authority));
  };
  EXPECT_THAT(problem(""), HasSubstr("not one X.509"));
  EXPECT_THAT(problem("-----BEGIN CERTIFICATE-----\n"), HasSubstr("not one X.509"));
  // It would have two hashes.
  EXPECT_THAT(problem(std::string(kSampleAuthority) + "\n"), HasSubstr("not one X.509"));
  EXPECT_THAT(problem("text\n" + std::string(kSampleAuthority)), HasSubstr("not one X.509"));
  EXPECT_THAT(problem(kSamplePublicKey), HasSubstr("not one X.509"));
  EXPECT_THAT(problem(std::string(9000, '-')), HasSubstr("more than 8192 bytes"));
  const KeyPair authority = MakeAuthority("team", ValidFor(1));
  EXPECT_THAT(problem(MakeMember(authority, "alice", {}, ValidFor(1)).certificate),
              HasSubstr("not one that can sign"));
}

TEST(TorrentTest, RefusesALayerWithoutItsRoot) {
  const TempFolder temp;
  Torrent torrent = SampleTorrent(temp.path() / "m");
  torrent.files.back().layer.front()[0] ^= 1;
  EXPECT_THAT(MessageOf([&] { ParseTorrent(WriteTorrent(torrent), "x.torrent"); }),
              HasSubstr("does not have its root"));
}

TEST(TorrentTest, RefusesShardsThatAreNotTheManifests) {
  const TempFolder temp;
  const Torrent torrent = SampleTorrent(temp.path() / "m");
  const Manifest manifest = Artifact(temp.path() / "m").manifest();
  Manifest fewer = manifest;
  fewer.shards.pop_back();
  EXPECT_THAT(MessageOf([&] { RequireSameShards(torrent, fewer); }), HasSubstr("not in its"));
  Manifest other = manifest;
  other.shards[1].hash[0] ^= 1;
  EXPECT_THAT(MessageOf([&] { RequireSameShards(torrent, other); }), HasSubstr("another size"));
}

}  // namespace doppler
