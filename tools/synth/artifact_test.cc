#include "synth/artifact.h"

#include <gtest/gtest.h>

#include "io/file.h"
#include "store/artifact.h"
#include "store/verify.h"
#include "synth/synth_testing.h"

namespace doppler {
namespace {

// Experts of 3 * 256 * 1024 bf16 values: several nodes each.
nlohmann::json WithLargeExperts() {
  nlohmann::json config = SmallHubConfig("qwen3_moe");
  config["moe_intermediate_size"] = 1024;
  return config;
}

void ExpectPartsCanBeChecked(const SmallSynth& synth) {
  WriteSynthArtifact(synth.config, synth.tensors, synth.options, IgnoreProgress);
  const Artifact artifact(synth.options.output);
  int experts = 0;
  for (std::size_t i = 0; i < artifact.manifest().shards.size(); ++i) {
    const ShardId shard(i);
    if (artifact.Shard(shard).type != ShardType::kExpert) continue;
    ++experts;
    EXPECT_EQ(artifact.Grain(shard), kNodeBytes);
    std::vector<std::byte> bytes(kNodeBytes);
    const Extent part = {.shard = shard, .offset = kNodeBytes, .size = kNodeBytes};
    const File file(synth.options.output / artifact.Shard(shard).file, OpenMode::kRead);
    file.ReadAt(part.offset, bytes);
    EXPECT_TRUE(artifact.Verify(part, bytes));
    bytes[5] ^= std::byte{1};
    EXPECT_FALSE(artifact.Verify(part, bytes));
  }
  EXPECT_EQ(experts, 8);
}

TEST(SynthArtifactTest, PartsOfExpertsCanBeChecked) {
  const TempFolder folder;
  ExpectPartsCanBeChecked(MakeSmallSynth(WithLargeExperts(), folder.path(), "bf16"));
}

TEST(SynthArtifactTest, PartsOfLinkedExpertsCanBeChecked) {
  const TempFolder folder;
  SmallSynth synth = MakeSmallSynth(WithLargeExperts(), folder.path(), "bf16");
  synth.options.distinct_experts = 3;
  ExpectPartsCanBeChecked(synth);
}

DType FormatIn(const SmallSynth& synth, const std::string& name) {
  for (const SynthTensor& tensor : synth.tensors) {
    if (tensor.spec.name == name) return tensor.dtype;
  }
  ADD_FAILURE() << "no tensor " << name;
  return DType::kF32;
}

TEST(SynthArtifactTest, FormatsAreThoseOfConvert) {
  const TempFolder folder;
  const SmallSynth synth = MakeSmallSynth(SmallHubConfig("gpt_oss"), folder.path(), "mxfp4");
  EXPECT_EQ(FormatIn(synth, "layers.0.mlp.experts.0.down_proj.weight"), DType::kMxfp4);
  EXPECT_EQ(FormatIn(synth, "layers.0.self_attn.q_proj.weight"), DType::kQ8_0);
  EXPECT_EQ(FormatIn(synth, "embed_tokens.weight"), DType::kQ8_0);
  EXPECT_EQ(FormatIn(synth, "lm_head.weight"), DType::kQ8_0);
}

}  // namespace
}  // namespace doppler
