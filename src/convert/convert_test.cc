#include "convert/convert.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "backend/quantize.h"
#include "base/error_testing.h"
#include "base/interrupt.h"
#include "convert/sample_checkpoint.h"
#include "format/merkle.h"
#include "io/file.h"
#include "store/artifact.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::array kSampleFamilies = {"llama",     "mistral", "mixtral", "qwen3",
                                        "qwen3_moe", "gpt_oss", "phimoe"};

std::vector<std::byte> ReadFileBytes(const fs::path& path) {
  const std::string text = ReadTextFile(path);
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

class ConvertTest : public testing::Test {
 protected:
  ConvertTest() { fs::create_directory(source()); }

  fs::path source() const { return folder_.path() / "sample model"; }
  fs::path output() const { return folder_.path() / "out"; }

  ConvertReport Run(ConvertOptions options = {}) {
    if (options.checkpoint.empty()) options.checkpoint = source();
    options.output = output();
    options.threads = 2;
    // What is compared is rows; row_layout_test.cc has the groups.
    options.layout = WeightLayout::kRow;
    last_done_ = 0;
    return Convert(options, [this](Bytes done, Bytes total) {
      EXPECT_GE(done, last_done_);
      EXPECT_LE(done, total);
      last_done_ = done;
    });
  }
  std::string Failure(const ConvertOptions& options = {}) {
    std::string message = MessageOf([&] { Run(options); });
    EXPECT_FALSE(fs::exists(output()));
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1);
    return message;
  }

  Manifest ReadManifest() const {
    return ParseManifest(ReadTextFile(output() / "manifest.json"), "manifest.json");
  }
  std::vector<std::byte> Stored(const Manifest& manifest, const std::string& name) const {
    const TensorEntry& tensor = manifest.Tensor(name);
    std::vector<std::byte> bytes(tensor.size);
    File(output() / manifest.shards[tensor.shard.index()].file, OpenMode::kRead)
        .ReadAt(tensor.offset, bytes);
    return bytes;
  }

  // Hashes, leaf files, records, and that no other tensors are there.
  void ExpectSound(const SampleModel& sample) const {
    const Manifest manifest = ReadManifest();
    EXPECT_EQ(manifest.tensors.size(), sample.specs.size());
    EXPECT_EQ(ConfigToJson(ConfigFromJson(manifest.architecture, "m")),
              ConfigToJson(sample.config));
    for (const ShardEntry& shard : manifest.shards) {
      const std::vector<std::byte> bytes = ReadFileBytes(output() / shard.file);
      ASSERT_EQ(bytes.size(), shard.size);
      EXPECT_EQ(MerkleRootOf(bytes), shard.hash);
      const fs::path leaves = output() / LeavesFileOf(shard);
      ASSERT_EQ(fs::exists(leaves), shard.type != ShardType::kExpert);
      if (shard.type == ShardType::kExpert) continue;
      std::vector<Digest> digests(fs::file_size(leaves) / sizeof(Digest));
      File(leaves, OpenMode::kRead).ReadAt(0, std::as_writable_bytes(std::span(digests)));
      EXPECT_EQ(MerkleRoot(digests), shard.hash);
      EXPECT_EQ(digests.size(), (shard.size + kLeafBytes - 1) / kLeafBytes);
    }
    for (int layer = 0; layer < sample.config.num_layers; ++layer) {
      for (int expert = 0; expert < sample.config.num_experts; ++expert) {
        EXPECT_NO_THROW(FindExpertRecord(manifest, LayerId(layer), ExpertId(expert)));
      }
    }
  }
  void ExpectSameWeights(const SampleModel& sample, bool wide_norms = false) const {
    const Manifest manifest = ReadManifest();
    for (const TensorSpec& spec : sample.specs) {
      const auto& weights = sample.weights.at(spec.name);
      const bool wide = wide_norms && IsWideInGguf(spec);
      EXPECT_EQ(Stored(manifest, spec.name), wide ? WidenBf16(weights) : weights) << spec.name;
      EXPECT_EQ(manifest.Tensor(spec.name).shape, spec.shape);
      EXPECT_EQ(manifest.Tensor(spec.name).dtype, wide ? DType::kF32 : DType::kBf16);
    }
  }

  TempFolder folder_;
  Bytes last_done_ = 0;
};

TEST_F(ConvertTest, KeepsEveryByteOfEveryFamilyAndStrategy) {
  for (const char* family : kSampleFamilies) {
    const SampleModel sample = MakeSample(family);
    WriteHub(sample, source());
    for (const auto strategy :
         {ShardingStrategy::kExpert, ShardingStrategy::kLayer, ShardingStrategy::kFixed}) {
      SCOPED_TRACE(fmt::format("{} {}", family, StrategyName(strategy)));
      const ConvertReport report = Run({.sharding = strategy});
      EXPECT_EQ(report.model_id, "sample-model");
      EXPECT_EQ(report.tensors, sample.specs.size());
      EXPECT_EQ(last_done_, report.bytes);
      EXPECT_TRUE(report.notes.empty());
      ExpectSound(sample);
      ExpectSameWeights(sample);
      EXPECT_EQ(ReadManifest().strategy, strategy);
      fs::remove_all(output());
    }
    fs::remove_all(source());
    fs::create_directory(source());
  }
}

TEST_F(ConvertTest, ReadsIndexedAndStackedCheckpoints) {
  const SampleModel sample = MakeSample("qwen3_moe");
  for (const HubStyle style : {HubStyle::kIndexed, HubStyle::kStacked}) {
    WriteHub(sample, source(), style);
    Run();
    ExpectSound(sample);
    ExpectSameWeights(sample);
    fs::remove_all(output());
    fs::remove_all(source());
    fs::create_directory(source());
  }
}

TEST_F(ConvertTest, GivesTheSameBytesTwice) {
  WriteHub(MakeSample("qwen3_moe"), source());
  Run();
  const std::string first = ReadTextFile(output() / "manifest.json");
  fs::remove_all(output());
  Run();
  EXPECT_EQ(ReadTextFile(output() / "manifest.json"), first);
}

TEST_F(ConvertTest, ReadsGgufAndPutsRotaryRowsInOrder) {
  for (const char* family : kSampleFamilies) {
    if (family == std::string("mistral")) continue;  // GGUF calls it llama
    SCOPED_TRACE(family);
    const SampleModel sample = MakeSample(family);
    const fs::path path = source() / "tiny.gguf";
    WriteTextFile(path, BuildGguf(sample).Build());
    EXPECT_EQ(Run({.checkpoint = path}).model_id, "tiny");
    ExpectSound(sample);
    ExpectSameWeights(sample, true);
    EXPECT_TRUE(fs::exists(output() / "tokenizer.json"));
    fs::remove_all(output());
    fs::remove(path);
  }
}

TEST_F(ConvertTest, ReadsRotaryFactorsFromGguf) {
  SampleModel sample = MakeSample("llama");
  sample.config.rope_scaling.factors = {1, 1, 1, 1, 2, 4, 8, 8};
  GgufBuilder builder = BuildGguf(sample);
  builder.AddTensor("rope_freqs.weight", {8}, 0,
                    std::as_bytes(std::span(sample.config.rope_scaling.factors)));
  WriteTextFile(source() / "tiny.gguf", builder.Build());
  Run({.checkpoint = source() / "tiny.gguf"});
  ExpectSound(sample);
}

TEST_F(ConvertTest, ReadsWindowsFromGguf) {
  SampleModel sample = MakeSample("llama");
  const auto windows = [&](const std::function<void(GgufBuilder&)>& change) {
    GgufBuilder builder = BuildGguf(sample);
    change(builder);
    const fs::path path = source() / "tiny.gguf";
    fs::remove(path);
    fs::remove_all(output());
    WriteTextFile(path, builder.Build());
    Run({.checkpoint = path});
    return ConfigFromJson(ReadManifest().architecture, "m").layer_windows;
  };
  constexpr const char* kWindow = "llama.attention.sliding_window";
  constexpr const char* kPattern = "llama.attention.sliding_window_pattern";
  EXPECT_THAT(windows([](GgufBuilder& builder) { builder.AddUint32(kWindow, 16); }),
              testing::ElementsAre(16, 16));
  EXPECT_THAT(windows([](GgufBuilder& builder) {
                builder.AddUint32(kWindow, 16);
                builder.AddUint32(kPattern, 2);
              }),
              testing::ElementsAre(16, 0));
  // A window that no text fills is none.
  EXPECT_THAT(windows([](GgufBuilder& builder) { builder.AddUint32(kWindow, 128); }),
              testing::IsEmpty());
}

TEST_F(ConvertTest, ReadsBothListsOfRotaryFactorsFromGguf) {
  SampleModel sample = MakeSample("phimoe");
  RopeScaling& near = sample.config.rope_scaling;
  RopeScaling& far = sample.config.long_rope_scaling;
  near = {.factors = {1, 1, 1, 1, 1, 1, 1, 2}, .magnitude = 1.5F};
  far = {.factors = {1, 2, 3, 4, 5, 6, 7, 8}, .magnitude = 1.5F};
  sample.config.long_rope_from = 32;
  GgufBuilder builder = BuildGguf(sample);
  builder.AddUint32("phimoe.rope.scaling.original_context_length", 32);
  builder.AddFloat("phimoe.rope.scaling.attn_factor", 1.5F);
  builder.AddTensor("rope_factors_short.weight", {8}, 0, std::as_bytes(std::span(near.factors)));
  builder.AddTensor("rope_factors_long.weight", {8}, 0, std::as_bytes(std::span(far.factors)));
  WriteTextFile(source() / "tiny.gguf", builder.Build());
  Run({.checkpoint = source() / "tiny.gguf"});
  ExpectSound(sample);
}

TEST_F(ConvertTest, CopiesTokenizerFiles) {
  WriteHub(MakeSample("llama"), source());
  WriteTextFile(source() / "tokenizer_config.json", "{\"a\": 1}");
  WriteTextFile(source() / "chat_template.jinja", "hello");
  Run();
  EXPECT_EQ(ReadTextFile(output() / "tokenizer.json"), "{}");
  EXPECT_EQ(ReadTextFile(output() / "tokenizer_config.json"), "{\"a\": 1}");
  EXPECT_EQ(ReadTextFile(output() / "chat_template.jinja"), "hello");
}

TEST_F(ConvertTest, NeedsATokenizerUnlessToldOtherwise) {
  WriteHub(MakeSample("llama"), source());
  fs::remove(source() / "tokenizer.json");
  EXPECT_THAT(Failure(), HasSubstr("tokenizer.json"));
  Run({.allow_missing_tokenizer = true});
  EXPECT_FALSE(fs::exists(output() / "tokenizer.json"));
}

TEST_F(ConvertTest, QuantisesWhatMultipliesAndTheTokenTable) {
  const SampleModel sample = MakeSample("qwen3_moe");
  WriteHub(sample, source());
  const ConvertReport report = Run({.quantize = DType::kQ8_0});
  EXPECT_EQ(report.model_id, "sample-model-q8_0");
  EXPECT_TRUE(report.notes.empty());
  ExpectSound(sample);
  const Manifest manifest = ReadManifest();
  for (const TensorSpec& spec : sample.specs) {
    const bool quantised = spec.role != TensorRole::kNorm && spec.role != TensorRole::kRouter;
    EXPECT_EQ(manifest.Tensor(spec.name).dtype, quantised ? DType::kQ8_0 : DType::kBf16);
    const auto& weights = sample.weights.at(spec.name);
    if (!quantised) {
      EXPECT_EQ(Stored(manifest, spec.name), weights);
      continue;
    }
    std::vector<float> floats(weights.size() / 2);
    Dequantize(DType::kBf16, weights, floats);
    std::vector<std::byte> expected(floats.size() / 32 * 34);
    Quantize(DType::kQ8_0, floats, expected);
    EXPECT_EQ(Stored(manifest, spec.name), expected) << spec.name;
  }
}

TEST_F(ConvertTest, SaysWhatTookAnotherFormat) {
  const SampleModel sample = MakeSample("llama", 256);  // rows of 256, 64 and 96 values
  WriteHub(sample, source());
  const ConvertReport report = Run({.quantize = DType::kQ4_K});
  const Manifest manifest = ReadManifest();
  EXPECT_EQ(manifest.Tensor("layers.0.mlp.gate_proj.weight").dtype, DType::kQ4_K);
  EXPECT_EQ(manifest.Tensor("layers.0.mlp.down_proj.weight").dtype, DType::kQ8_0);
  EXPECT_EQ(manifest.Tensor("embed_tokens.weight").dtype, DType::kQ6_K);
  ASSERT_EQ(report.notes.size(), 3u);
  EXPECT_THAT(report.notes[0], HasSubstr("tensors are q6_k: the token table"));
  EXPECT_THAT(report.notes[1], AllOf(HasSubstr("2 tensors are q8_0"), HasSubstr("rows of 64")));
  EXPECT_THAT(report.notes[2], AllOf(HasSubstr("2 tensors are q8_0"), HasSubstr("rows of 96")));
  fs::remove_all(output());
  EXPECT_THAT(Failure({.quantize = DType::kF16}), HasSubstr("cannot be quantised to 'f16'"));
}

TEST_F(ConvertTest, RefusesWeightsThatNoScaleReaches) {
  for (const std::uint16_t wrong : {0x7fc0, 0xff80, 0x4780}) {  // NaN, -infinity, 65536
    SampleModel sample = MakeSample("llama");
    std::vector<std::byte>& weights = sample.weights.at("layers.1.mlp.up_proj.weight");
    std::memcpy(weights.data() + 100, &wrong, sizeof(wrong));
    WriteHub(sample, source());
    EXPECT_THAT(Failure({.quantize = DType::kQ4_0}),
                AllOf(HasSubstr("'layers.1.mlp.up_proj.weight'"), HasSubstr("q4_0 cannot store")));
    fs::remove_all(source());
    fs::create_directory(source());
  }
}

TEST_F(ConvertTest, QuantisesQ80ButNoOtherBlocks) {
  const SampleModel sample = MakeSample("llama");
  GgufBuilder builder = BuildGguf(sample);
  std::vector<std::byte> q8_0(96 * 68);  // [96, 64] values
  const std::vector<std::byte> q4_0(96 * 36);
  std::vector<float> floats(std::size_t{96} * 64);
  Dequantize(DType::kBf16, sample.weights.at("layers.0.mlp.up_proj.weight"), floats);
  Quantize(DType::kQ8_0, floats, q8_0);
  builder.ReplaceTensor("blk.0.ffn_up.weight", 8, q8_0);
  builder.ReplaceTensor("blk.0.ffn_gate.weight", 2, q4_0);
  WriteTextFile(source() / "tiny.gguf", builder.Build());
  const ConvertReport report =
      Run({.checkpoint = source() / "tiny.gguf", .quantize = DType::kQ4_0});
  EXPECT_THAT(report.notes, testing::Contains(HasSubstr("1 tensors are q4_0 already")));
  const Manifest manifest = ReadManifest();
  EXPECT_EQ(Stored(manifest, "layers.0.mlp.gate_proj.weight"), q4_0);
  std::vector<std::byte> expected(q4_0.size());
  Dequantize(DType::kQ8_0, q8_0, floats);
  Quantize(DType::kQ4_0, floats, expected);
  EXPECT_EQ(Stored(manifest, "layers.0.mlp.up_proj.weight"), expected);
}

TEST_F(ConvertTest, KeepsBlocksOfGguf) {
  const SampleModel sample = MakeSample("llama");
  GgufBuilder builder = BuildGguf(sample);
  // Any bytes are blocks of Q8_0: [96, 64] values are 96 * 2 blocks of 34 bytes.
  std::vector<std::byte> blocks(96 * 68);
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<std::byte>(i * 31);
  builder.ReplaceTensor("blk.0.ffn_up.weight", 8, blocks);
  WriteTextFile(source() / "tiny.gguf", builder.Build());
  const ConvertReport report =
      Run({.checkpoint = source() / "tiny.gguf", .quantize = DType::kQ8_0});
  EXPECT_THAT(report.notes, testing::ElementsAre(HasSubstr("1 tensors are q8_0 already")));
  const Manifest manifest = ReadManifest();
  EXPECT_EQ(manifest.Tensor("layers.0.mlp.up_proj.weight").dtype, DType::kQ8_0);
  EXPECT_EQ(Stored(manifest, "layers.0.mlp.up_proj.weight"), blocks);
}

TEST_F(ConvertTest, WritesNodesOfLargeExperts) {
  WriteHub(MakeSample("qwen3_moe", 4096), source());
  Run();
  const fs::path nodes = output() / kNodesFile;
  const Artifact artifact(output());
  std::size_t checked = 0;
  for (std::size_t i = 0; i < artifact.manifest().shards.size(); ++i) {
    const ShardEntry& shard = artifact.Shard(ShardId(i));
    if (shard.type != ShardType::kExpert) continue;
    ASSERT_GT(shard.size, kNodeBytes);
    ASSERT_EQ(artifact.Grain(ShardId(i)), kNodeBytes);
    std::vector<std::byte> bytes = ReadFileBytes(output() / shard.file);
    for (Bytes offset = 0; offset < shard.size; offset += kNodeBytes) {
      const Extent extent{ShardId(i), offset, std::min(kNodeBytes, shard.size - offset)};
      const auto part = std::span(bytes).subspan(offset, extent.size);
      EXPECT_TRUE(artifact.Verify(extent, part));
      part[extent.size / 2] ^= std::byte{1};
      EXPECT_FALSE(artifact.Verify(extent, part));
      ++checked;
    }
  }
  EXPECT_EQ(fs::file_size(nodes), checked * sizeof(Digest));

  std::fstream(nodes, std::ios::in | std::ios::out | std::ios::binary).put('x');
  EXPECT_THAT(MessageOf([&] { Artifact{output()}; }), HasSubstr("experts.nodes"));
  fs::resize_file(nodes, 32);
  EXPECT_THAT(MessageOf([&] { Artifact{output()}; }), HasSubstr("wrong size"));
  fs::remove(nodes);
  const Artifact without(output());
  for (std::size_t i = 0; i < without.manifest().shards.size(); ++i) {
    const ShardEntry& shard = without.Shard(ShardId(i));
    if (shard.type == ShardType::kExpert) {
      EXPECT_EQ(without.Grain(ShardId(i)), shard.size);
    }
  }
}

TEST_F(ConvertTest, RefusesToOverwrite) {
  WriteHub(MakeSample("llama"), source());
  Run();
  const std::string before = ReadTextFile(output() / "manifest.json");
  EXPECT_THAT(MessageOf([&] { Run(); }), HasSubstr("not overwritten"));
  EXPECT_EQ(ReadTextFile(output() / "manifest.json"), before);
}

TEST_F(ConvertTest, LeavesNothingWhenInterrupted) {
  WriteHub(MakeSample("qwen3_moe"), source());
  ConvertOptions options = {.checkpoint = source(), .output = output()};
  EXPECT_THROW(Convert(options,
                       [](Bytes done, Bytes total) {
                         if (done > total / 2) SetInterruptedForTest(true);
                       }),
               InterruptedError);
  SetInterruptedForTest(false);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1);
}

TEST_F(ConvertTest, NamesWhatIsWrongWithAHubFolder) {
  EXPECT_THAT(Failure(), HasSubstr("config.json"));
  EXPECT_THAT(Failure({.checkpoint = source() / "missing"}), HasSubstr("does not exist"));
  SampleModel sample = MakeSample("qwen3_moe");
  WriteHub(sample, source(), HubStyle::kIndexed);
  const fs::path part = source() / "model-00002-of-00003.safetensors";
  const fs::path weights = source() / "model.safetensors";
  const fs::path index = source() / "model.safetensors.index.json";
  fs::resize_file(part, fs::file_size(part) - 1);
  EXPECT_THAT(Failure(), AllOf(HasSubstr(part.filename().string()), HasSubstr("truncated")));
  fs::remove(part);
  EXPECT_THAT(Failure(), AllOf(HasSubstr(part.filename().string()), HasSubstr("missing")));
  fs::remove(index);
  WriteTextFile(index, R"({"weight_map": {"model.norm.weight": "../x"}})");
  EXPECT_THAT(Failure(), HasSubstr("must stand beside"));
  fs::remove(index);
  EXPECT_THAT(Failure(), HasSubstr("neither model.safetensors"));

  const auto with = [&](const std::function<void(SampleModel&)>& change) {
    SampleModel changed = sample;
    change(changed);
    fs::remove_all(source());
    fs::create_directory(source());
    WriteHub(changed, source());
    return Failure();
  };
  const std::string name = "layers.1.mlp.experts.2.up_proj.weight";
  const auto find = [&](SampleModel& model) {
    return std::find_if(model.specs.begin(), model.specs.end(),
                        [&](const TensorSpec& spec) { return spec.name == name; });
  };
  EXPECT_THAT(with([&](SampleModel& model) { model.specs.erase(find(model)); }),
              AllOf(HasSubstr(name), HasSubstr("missing")));
  EXPECT_THAT(
      with([&](SampleModel& model) { std::swap(find(model)->shape[0], find(model)->shape[1]); }),
      AllOf(HasSubstr(name), HasSubstr("[64, 96]"), HasSubstr("[96, 64]")));
  EXPECT_THAT(with([&](SampleModel& model) {
                model.specs.push_back({.name = "layers.0.extra.bias", .shape = {64}});
                model.weights["layers.0.extra.bias"] = model.weights.at("norm.weight");
              }),
              AllOf(HasSubstr("model.layers.0.extra.bias"), HasSubstr("not part of")));
}

TEST_F(ConvertTest, IgnoresRotaryBuffersAndCopiesOfATiedTable) {
  SampleModel sample = MakeSample("llama");
  sample.config.tied_embeddings = true;
  sample.specs.push_back({.name = "layers.0.self_attn.rotary_emb.inv_freq", .shape = {64}});
  sample.weights[sample.specs.back().name] = sample.weights.at("norm.weight");
  WriteHub(sample, source());
  Run();
  EXPECT_FALSE(ReadManifest().tensors.contains("lm_head.weight"));
  EXPECT_EQ(ReadManifest().tensors.size(), sample.specs.size() - 2);
}

TEST_F(ConvertTest, ReadsAGgufWithoutVocabularyIfAllowed) {
  GgufBuilder builder = BuildGguf(MakeSample("llama"));
  builder.RemoveValues("tokenizer.");
  const fs::path path = source() / "x.gguf";
  WriteTextFile(path, builder.Build());
  EXPECT_THAT(Failure({.checkpoint = path}), HasSubstr("tokenizer.ggml.model"));
  Run({.checkpoint = path, .allow_missing_tokenizer = true});
  EXPECT_FALSE(fs::exists(output() / "tokenizer.json"));
}

TEST_F(ConvertTest, NamesWhatIsWrongWithAGguf) {
  const SampleModel sample = MakeSample("mixtral");
  const fs::path path = source() / "x.gguf";
  const auto failure = [&](const GgufBuilder& builder) {
    fs::remove(path);
    WriteTextFile(path, builder.Build());
    return Failure({.checkpoint = path});
  };
  GgufBuilder extra = BuildGguf(sample);
  extra.AddTensor("blk.0.attn_q.bias", {64}, 0, std::vector<std::byte>(256));
  EXPECT_THAT(failure(extra), AllOf(HasSubstr("blk.0.attn_q.bias"), HasSubstr("not part of")));
  GgufBuilder unsupported = BuildGguf(sample);
  unsupported.ReplaceTensor("blk.1.attn_v.weight", 9, std::vector<std::byte>(32 * 72));
  EXPECT_THAT(failure(unsupported), AllOf(HasSubstr("blk.1.attn_v.weight"), HasSubstr("Q8_1")));
  SampleModel fewer = sample;
  fewer.specs.pop_back();
  fewer.specs.pop_back();
  EXPECT_THAT(failure(BuildGguf(fewer)), HasSubstr("output_norm.weight"));
  GgufBuilder scaled = BuildGguf(sample);
  scaled.AddString("llama.rope.scaling.type", "longrope");
  EXPECT_THAT(failure(scaled), HasSubstr("'longrope' is not supported"));
  GgufBuilder partial = BuildGguf(sample);
  partial.AddUint32("llama.rope.dimension_count", 8);
  EXPECT_THAT(failure(partial), HasSubstr("rope.dimension_count"));
  fs::remove(path);
  WriteTextFile(path, "hello, this is not a model of any kind");
  EXPECT_THAT(Failure({.checkpoint = path}), HasSubstr("not a GGUF file"));
}

}  // namespace
}  // namespace doppler
