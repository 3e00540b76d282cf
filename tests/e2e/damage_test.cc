// Artifacts whose files are damaged, exchanged or missing: found before a byte is used, and named.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/program.h"

namespace doppler {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// The artifact's shards of a type, in the manifest's order.
std::vector<std::string> Shards(const fs::path& model, const std::string& type) {
  std::vector<std::string> files;
  const json manifest = ReadJson(model / "manifest.json");
  for (const json& shard : manifest.at("shards")) {
    if (shard.at("type") == type) files.push_back(shard.at("file"));
  }
  return files;
}

ProcessResult RunModel(const fs::path& model) {
  return Doppler({"run", model, "-p", "Once upon a time", "-n", "4"});
}

// `run` and `verify` both refuse the model; verify lists exactly these shards.
void ExpectDamaged(const fs::path& model, const std::vector<std::string>& files,
                   const std::vector<std::string>& parts) {
  ExpectRefused(RunModel(model), kFailed, parts);
  const ProcessResult text = Doppler({"verify", model});
  ExpectRefused(text, kFailed, {std::to_string(files.size()) + " of ", "are damaged"});
  for (const std::string& file : files) EXPECT_THAT(text.output, HasSubstr(file + ": "));
  const ProcessResult result = Doppler({"verify", model, "--json"});
  EXPECT_EQ(result.status, kFailed);
  const json report = json::parse(result.output);
  std::vector<std::string> listed;
  for (const json& shard : report.at("damaged")) {
    listed.push_back(shard.at("file"));
    EXPECT_NE(shard.at("problem"), "");
  }
  EXPECT_EQ(listed, files);
}

TEST(DamageTest, AFlippedBitInADenseShard) {
  const ConvertedModel model(Golden("mixtral"));
  const std::string file = Shards(model.path(), "dense").at(0);
  FlipBit(model.path() / file, 70'000);
  ExpectDamaged(model.path(), {file}, {file, "damaged", "convert again", "verify"});
}

TEST(DamageTest, FlippedBitsInExpertShards) {
  const ConvertedModel model(Golden("mixtral"));
  const std::vector<std::string> files = Shards(model.path(), "expert");
  ASSERT_EQ(files.size(), 24u);
  for (const std::string& file : files) FlipBit(model.path() / file, 20'000);
  ExpectDamaged(model.path(), files, {"shards/", "damaged", "convert again", "verify"});
}

TEST(DamageTest, AFlippedBitInTheFirstExpertThatIsUsed) {
  const ConvertedModel model(Golden("mixtral"));
  const GoldenCase golden = LoadGoldenCase("mixtral");
  const std::string key = "0_" + std::to_string(golden.router_experts[0][0][0]);
  std::string file;
  const json manifest = ReadJson(model.path() / "manifest.json");
  for (const json& shard : manifest.at("shards")) {
    if (shard.value("expertKey", "") == key) file = shard.at("file");
  }
  FlipBit(model.path() / file, 0);
  const TempFolder folder;
  Overwrite(folder.path() / "ids.json", json(golden.input_ids).dump());
  ExpectRefused(Doppler({"logits", model.path(), "--ids", folder.path() / "ids.json", "-o",
                         folder.path() / "logits.safetensors"}),
                kFailed, {file, "damaged"});
  EXPECT_EQ(Entries(folder.path()), std::vector<std::string>{"ids.json"});
}

TEST(DamageTest, FlippedBitsInLayerAndFixedShards) {
  for (const auto sharding : {ShardingStrategy::kLayer, ShardingStrategy::kFixed}) {
    const std::string type(StrategyName(sharding));
    SCOPED_TRACE(type);
    const ConvertedModel model(Golden("llama3"), sharding);
    const std::string file = Shards(model.path(), type).back();
    FlipBit(model.path() / file, 10'000);
    ExpectDamaged(model.path(), {file}, {file, "damaged"});
  }
}

TEST(DamageTest, TwoDamagedShardsAreBothNamed) {
  const ConvertedModel model(Golden("mixtral"));
  const std::string dense = Shards(model.path(), "dense").at(0);
  const std::string expert = Shards(model.path(), "expert").at(13);
  FlipBit(model.path() / dense, 0);
  FlipBit(model.path() / expert, 30'000);
  ExpectDamaged(model.path(), {dense, expert}, {dense});
}

TEST(DamageTest, ExchangedShards) {
  const ConvertedModel model(Golden("mixtral"));
  std::vector<std::string> files = Shards(model.path(), "expert");
  for (std::size_t i = 0; i < files.size(); i += 2) {
    fs::rename(model.path() / files[i], model.path() / "other");
    fs::rename(model.path() / files[i + 1], model.path() / files[i]);
    fs::rename(model.path() / "other", model.path() / files[i + 1]);
  }
  ExpectDamaged(model.path(), files, {"shards/", "damaged"});
}

TEST(DamageTest, TruncatedAndLengthenedShards) {
  for (const Bytes size : {Bytes{0}, Bytes{4096}, Bytes{1'000'000}}) {
    const ConvertedModel model(Golden("mixtral"));
    const std::string file = Shards(model.path(), "expert").at(3);
    fs::resize_file(model.path() / file, size);
    ExpectDamaged(model.path(), {file}, {file, std::to_string(size) + " bytes", "convert again"});
  }
}

TEST(DamageTest, MissingShards) {
  const ConvertedModel model(Golden("mixtral"));
  const std::string file = Shards(model.path(), "expert").at(3);
  fs::remove(model.path() / file);
  ExpectDamaged(model.path(), {file}, {file, "missing", "convert again"});
  fs::create_directory(model.path() / file);
  ExpectDamaged(model.path(), {file}, {file});
}

TEST(DamageTest, ADamagedListOfLeafHashes) {
  const ConvertedModel model(Golden("mixtral"));
  const fs::path leaves = model.path() / "shards" / "00000.leaves";
  const std::string text = RunModel(MoeModel()).output;
  FlipBit(leaves, 40);
  ExpectRefused(RunModel(model.path()), kFailed, {leaves.string(), "delete it"});
  fs::resize_file(leaves, 100);
  ExpectRefused(RunModel(model.path()), kFailed, {leaves.string(), "delete it"});
  // It can be computed from the shard.
  fs::remove(leaves);
  ExpectDone(RunModel(model.path()));
  EXPECT_EQ(RunModel(model.path()).output, text);
  FlipBit(model.path() / "shards" / "00000.bin", 5'000);
  ExpectRefused(RunModel(model.path()), kFailed, {"00000.bin", "damaged", "convert again"});
}

TEST(DamageTest, Tokenizers) {
  const ConvertedModel model(Golden("mixtral"));
  const fs::path file = model.path() / "tokenizer.json";
  const std::string good = ReadTextFile(file);
  fs::remove(file);
  ExpectRefused(RunModel(model.path()), kFailed, {file, "missing", "convert again"});
  for (const std::string& bad : {std::string(), good.substr(0, good.size() / 2), std::string("[]"),
                                 std::string("\xff\xfe\x00", 3)}) {
    Overwrite(file, bad);
    ExpectRefused(RunModel(model.path()), kFailed, {model.path().string() + ": tokenizer.json"});
  }
  json edited = json::parse(good);
  edited["model"]["type"] = "Unigram";
  Overwrite(file, edited.dump());
  ExpectRefused(RunModel(model.path()), kFailed, {"tokenizer.json", "Unigram"});
  Overwrite(file, good);
  Overwrite(model.path() / "tokenizer_config.json", "{\"eos_token\": \"nowhere\"}");
  ExpectRefused(RunModel(model.path()), kFailed,
                {model.path().string() + ": tokenizer_config.json", "nowhere"});
  // Nothing but text needs it.
  ExpectDone(Doppler({"bench", model.path(), "--prefill", "4", "--decode", "1"}));
}

}  // namespace
}  // namespace doppler
