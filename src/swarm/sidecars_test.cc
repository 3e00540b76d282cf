#include "swarm/sidecars.h"

#include <gtest/gtest.h>

#include "io/file.h"
#include "store/artifact.h"
#include "swarm/artifact_torrent.h"
#include "swarm/check_files.h"
#include "swarm/sample_artifact.h"

namespace doppler {

TEST(SidecarsTest, AreThoseThatAReaderExpects) {
  const TempFolder temp;
  // Two nodes, the second of which is not full.
  WriteSampleArtifact(temp.path() / "m", {.experts = 3, .expert_bytes = 300 * kKiB});
  const std::filesystem::path folder = temp.path() / "m";
  Torrent torrent = DescribeArtifact(folder);
  CheckFiles(folder, torrent, "manifest.json", 1, [](Bytes) {});
  const Manifest manifest = Artifact(folder).manifest();
  const ShardEntry& dense = manifest.shards.front();
  TorrentFile file = *torrent.Find(dense.file);
  WriteLeaves(folder, dense, CheckFile(folder / dense.file, file, [](Bytes) {}).leaves);
  WriteNodes(folder, manifest, torrent);
  // It compares both with the manifest.
  const Artifact artifact(folder);
  EXPECT_EQ(artifact.Grain(ShardId(1)), kNodeBytes);
  EXPECT_EQ(ReadTextFile(folder / "shards/00000.leaves").size(), 9 * sizeof(Digest));
}

TEST(SidecarsTest, NodesAreNotWrittenOfShardsThatAreMissing) {
  const TempFolder temp;
  const std::filesystem::path folder = temp.path() / "m";
  WriteSampleArtifact(folder);
  const Manifest manifest = Artifact(folder).manifest();
  WriteNodes(folder, manifest, DescribeArtifact(folder));
  EXPECT_FALSE(std::filesystem::exists(folder / kNodesFile));
}

}  // namespace doppler
