#include "store/artifact.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_testing.h"
#include "store/local_store.h"
#include "store/verify.h"
#include "support/model_case.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ArtifactTest : public testing::TestWithParam<ShardingStrategy> {
 protected:
  ArtifactTest() : model_(DataFolder() / "golden" / "qwen3-moe", GetParam()) {}
  fs::path FirstShard() const { return model_.path() / "shards" / "00000.bin"; }

  ConvertedModel model_;
};

TEST_P(ArtifactTest, EveryTensorsCoverVerifies) {
  const Artifact artifact(model_.path());
  for (const auto& [name, tensor] : artifact.manifest().tensors) {
    const Extent extent = artifact.Cover(tensor.shard, tensor.offset, tensor.size);
    EXPECT_LE(extent.offset, tensor.offset);
    EXPECT_GE(extent.offset + extent.size, tensor.offset + tensor.size);
    EXPECT_EQ(extent.offset % kLeafBytes, 0u);
    MappedMemory memory(extent.size);
    ReadVerified(artifact, extent, memory.span());
    memory.data()[extent.size / 2] ^= std::byte{1};
    EXPECT_FALSE(artifact.Verify(extent, memory.span())) << name;
  }
}

TEST_P(ArtifactTest, AFlippedBitIsFoundByReadAndByVerify) {
  FlipBit(FirstShard(), 100);
  const Artifact artifact(model_.path());
  const Extent extent = artifact.Cover(ShardId(0), 0, 4096);
  MappedMemory memory(extent.size);
  EXPECT_THAT(MessageOf([&] { ReadVerified(artifact, extent, memory.span()); }),
              HasSubstr("00000.bin"));
  const VerifyReport report = VerifyArtifact(model_.path(), 2, [](Bytes) {});
  ASSERT_EQ(report.damaged.size(), 1u);
  EXPECT_EQ(report.damaged[0].file, "shards/00000.bin");
}

TEST_P(ArtifactTest, AMissingOrTruncatedShardIsNamedAtOpen) {
  fs::resize_file(FirstShard(), fs::file_size(FirstShard()) - 4096);
  EXPECT_THAT(MessageOf([&] { Artifact artifact(model_.path()); }), HasSubstr("00000.bin"));
  fs::remove(FirstShard());
  EXPECT_THAT(MessageOf([&] { Artifact artifact(model_.path()); }), HasSubstr("missing"));
}

INSTANTIATE_TEST_SUITE_P(Strategies, ArtifactTest,
                         testing::Values(ShardingStrategy::kExpert, ShardingStrategy::kLayer,
                                         ShardingStrategy::kFixed),
                         [](const auto& tested) {
                           return std::string(StrategyName(tested.param));
                         });

TEST(Leaves, AreComputedWhereTheSidecarIsMissingAndCheckedWhereItIsThere) {
  const ConvertedModel model(DataFolder() / "golden" / "qwen3-moe", ShardingStrategy::kLayer);
  const fs::path leaves = model.path() / "shards" / "00001.leaves";
  ASSERT_TRUE(fs::exists(leaves));
  const Bytes size = Artifact(model.path()).LeafTableBytes();
  FlipBit(leaves, 5);
  EXPECT_THAT(MessageOf([&] { Artifact artifact(model.path()); }), HasSubstr("00001.leaves"));
  fs::remove(leaves);
  EXPECT_EQ(Artifact(model.path()).LeafTableBytes(), size);
}

TEST(Artifact, IsNamedByTheHashOfItsManifest) {
  const ConvertedModel model(DataFolder() / "golden" / "qwen3");
  const std::string manifest = ReadTextFile(model.path() / "manifest.json");
  EXPECT_EQ(Artifact(model.path()).id(), Sha256(std::as_bytes(std::span(manifest))));
}

TEST(ResolveModel, FindsFoldersAndExplainsCheckpoints) {
  const ConvertedModel model(DataFolder() / "golden" / "qwen3");
  EXPECT_EQ(ResolveModel(model.path().string()), model.path());
  EXPECT_THAT(MessageOf([] { ResolveModel(DemoCheckpoint().string()); }),
              HasSubstr("doppler convert"));
  EXPECT_THAT(MessageOf([] { ResolveModel("no-such-model"); }), HasSubstr("no-such-model"));
}

}  // namespace
}  // namespace doppler
