#include "format/gguf.h"

#include <algorithm>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "convert/convert.h"
#include "store/artifact.h"
#include "synth/gguf_file.h"
#include "synth/synth_testing.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

fs::path WriteBoth(const SmallSynth& synth) {
  const fs::path gguf = synth.options.output.parent_path() / "model.gguf";
  WriteSynthArtifact(synth.config, synth.tensors, synth.options, IgnoreProgress);
  WriteSynthGguf(synth.config, synth.hub_config, synth.tensors, synth.options, gguf,
                 IgnoreProgress);
  return gguf;
}

// A tensor's format, shape and bytes.
using Contents = std::tuple<DType, std::vector<std::int64_t>, std::string>;

std::map<std::string, Contents> ReadTensors(const fs::path& folder) {
  const Manifest manifest = Artifact(folder).manifest();
  std::map<std::string, Contents> tensors;
  for (const auto& [name, tensor] : manifest.tensors) {
    const File file(folder / manifest.shards[tensor.shard.index()].file, OpenMode::kRead);
    std::string bytes(tensor.size, '\0');
    file.ReadAt(tensor.offset, std::as_writable_bytes(std::span(bytes)));
    tensors[name] = {tensor.dtype, tensor.shape, std::move(bytes)};
  }
  return tensors;
}

fs::path ConvertToArtifact(const fs::path& gguf, std::optional<WeightLayout> layout = {}) {
  const fs::path converted = gguf.parent_path() / "converted";
  Convert({.checkpoint = gguf, .output = converted, .layout = layout}, IgnoreProgress);
  return converted;
}

class SynthGgufTest : public ::testing::TestWithParam<const char*> {};

TEST_P(SynthGgufTest, ConvertsIntoTheSameTensorsAndModel) {
  const TempFolder folder;
  const SmallSynth synth = MakeSmallSynth(SmallHubConfig(GetParam()), folder.path());
  const fs::path converted = ConvertToArtifact(WriteBoth(synth));
  const auto expected = ReadTensors(synth.options.output);
  const auto found = ReadTensors(converted);
  EXPECT_EQ(found.size(), expected.size());
  for (const auto& [name, contents] : expected) {
    ASSERT_TRUE(found.contains(name)) << name;
    EXPECT_TRUE(found.at(name) == contents) << name;
  }
  nlohmann::json model = nlohmann::json::parse(Artifact(converted).manifest().architecture);
  nlohmann::json wanted = nlohmann::json::parse(ConfigToJson(synth.config));
  // GGUF does not tell these from Llama and DeepSeek-V3.
  if (std::string_view(GetParam()) == "mistral") wanted["family"] = "llama";
  if (std::string_view(GetParam()) == "kimi_k2") wanted["family"] = "deepseek_v3";
  EXPECT_EQ(model, wanted) << nlohmann::json::diff(wanted, model).dump();
}

INSTANTIATE_TEST_SUITE_P(Families, SynthGgufTest,
                         ::testing::Values("llama", "mistral", "mixtral", "qwen3", "qwen3_moe",
                                           "gpt_oss", "phimoe", "deepseek_v2", "deepseek_v3",
                                           "kimi_k2"));

TEST(SynthGgufFileTest, ConvertsIntoTheSameGroupsOfRows) {
  const TempFolder folder;
  SmallSynth synth = MakeSmallSynth(SmallHubConfig("qwen3_moe"), folder.path());
  const auto in_groups = [&] {
    return std::ranges::count_if(synth.tensors, IsGrouped, &SynthTensor::layout);
  };
  synth.tensors = PlanSynth(synth.config, "q4_k_m", WeightLayout::kRows16);
  EXPECT_EQ(in_groups(), 2 * 4 + 1 + 2 * 4 * 3);
  const fs::path converted = ConvertToArtifact(WriteBoth(synth), WeightLayout::kRows16);
  EXPECT_EQ(ReadTensors(converted), ReadTensors(synth.options.output));
}

TEST(SynthGgufFileTest, FillsTheVocabularyOfATokenizer) {
  const TempFolder folder;
  SmallSynth synth = MakeSmallSynth(SmallHubConfig("qwen3_moe"), folder.path());
  synth.options.tokenizer = folder.path() / "tokenizer";
  fs::create_directory(synth.options.tokenizer);
  WriteTextFile(
      synth.options.tokenizer / "tokenizer.json",
      R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
          "added_tokens": [{"id": 3, "content": "<end>", "special": true}]})");
  WriteTextFile(synth.options.tokenizer / "tokenizer_config.json", R"({"eos_token": "<end>"})");
  const GgufModel model(WriteBoth(synth));
  const GgufMetadata& metadata = model.metadata();
  EXPECT_EQ(metadata.Strings("tokenizer.ggml.tokens").size(), 320U);
  EXPECT_EQ(metadata.Strings("tokenizer.ggml.tokens")[2], "ab");
  EXPECT_EQ(metadata.Strings("tokenizer.ggml.merges"), std::vector<std::string>{"a b"});
  EXPECT_EQ(metadata.Int("tokenizer.ggml.eos_token_id"), 3);
  EXPECT_EQ(metadata.Integers("tokenizer.ggml.token_type")[3], 3);
}

TEST(SynthGgufFileTest, RefusesATokenizerOfMoreTokens) {
  const TempFolder folder;
  SmallSynth synth = MakeSmallSynth(SmallHubConfig("qwen3_moe"), folder.path());
  synth.options.tokenizer = folder.path();
  WriteTextFile(folder.path() / "tokenizer.json",
                R"({"model": {"type": "BPE", "vocab": {"a": 320}, "merges": []}})");
  try {
    WriteBoth(synth);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("a token 320 but the model a vocabulary of 320"));
  }
  EXPECT_FALSE(fs::exists(folder.path() / "model.gguf"));
}

}  // namespace
}  // namespace doppler
