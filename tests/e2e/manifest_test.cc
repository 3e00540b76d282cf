// Manifests that somebody has edited: each is refused for its own reason, before a shard is used.

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/program.h"

namespace doppler {
namespace {

using nlohmann::json;

constexpr const char* kQuery = "layers.0.self_attn.q_proj.weight";
constexpr const char* kKey = "layers.0.self_attn.k_proj.weight";
constexpr const char* kUp = "layers.1.mlp.experts.3.up_proj.weight";

struct Edit {
  const char* name;
  std::function<void(json&)> change;
  std::vector<std::string> parts;  // of the message
};

const std::vector<Edit> kEdits = {
    {"another format", [](json& m) { m["format"] = "zip"; }, {"format", "rdrr"}},
    {"a later version", [](json& m) { m["version"] = 2; }, {"version 2", "newer Doppler"}},
    {"an unknown key", [](json& m) { m["colour"] = "red"; }, {"\"colour\"", "not known"}},
    {"an unknown key of a tensor",
     [](json& m) { m["tensors"][kQuery]["colour"] = "red"; },
     {kQuery, "\"colour\"", "not known"}},
    {"no shards", [](json& m) { m["shards"] = json::array(); }, {"no shards"}},
    {"shards of another type", [](json& m) { m["shards"] = 3; }, {"shards", "list"}},
    {"no tensors at all", [](json& m) { m["tensors"] = json::object(); }, {"embed_tokens.weight"}},
    {"a missing tensor", [](json& m) { m["tensors"].erase(kQuery); }, {kQuery}},
    {"an unknown tensor",
     [](json& m) {
       m["tensors"]["layers.9.mystery.weight"] = m["tensors"][kQuery];
       m["tensors"].erase(kQuery);
     },
     {kQuery}},
    {"overlapping tensors",
     [](json& m) { m["tensors"][kQuery]["offset"] = m["tensors"][kKey]["offset"]; },
     {kQuery, kKey, "overlap"}},
    {"a tensor out of its shard",
     [](json& m) { m["tensors"][kQuery]["offset"] = 1 << 30; },
     {kQuery, "reach beyond shard 0"}},
    {"an offset that overflows",
     [](json& m) { m["tensors"][kQuery]["offset"] = 0xffff'ffff'ffff'f000; },
     {kQuery, "reach beyond shard 0"}},
    {"a negative offset",
     [](json& m) { m["tensors"][kQuery]["offset"] = -4096; },
     {"offset", "not negative"}},
    {"an offset that is not aligned",
     [](json& m) { m["tensors"][kQuery]["offset"] = 3; },
     {"offset", "multiple"}},
    {"a shape that overflows",
     [](json& m) {
       m["tensors"][kQuery]["shape"] = {1LL << 40, 1LL << 40};
     },
     {kQuery, "not possible"}},
    {"a shape that is not the model's",
     [](json& m) {
       m["tensors"][kQuery]["shape"] = {32, 128};
     },
     {kQuery, "[32, 128]"}},
    {"a size that is not the shape's",
     [](json& m) { m["tensors"][kQuery]["size"] = 4096; },
     {kQuery, "8192 bytes, not 4096"}},
    {"an unknown number format",
     [](json& m) { m["tensors"][kQuery]["dtype"] = "f8"; },
     {kQuery, "'f8' is not known"}},
    {"an unknown layout",
     [](json& m) { m["tensors"][kQuery]["layout"] = "spiral"; },
     {"'spiral' is not known"}},
    {"a shard that does not exist",
     [](json& m) { m["tensors"][kQuery]["shard"] = 99; },
     {kQuery, "only 25 shards"}},
    {"a tensor in another expert's shard",
     [](json& m) { m["tensors"][kUp]["shard"] = 1; },
     {"experts"}},
    {"a shard outside the artifact",
     [](json& m) { m["shards"][1]["file"] = "../secret.bin"; },
     {"shards[1].file", "inside the artifact"}},
    {"an absolute path",
     [](json& m) { m["shards"][1]["file"] = "/etc/passwd"; },
     {"shards[1].file"}},
    {"a leaf file for a shard",
     [](json& m) { m["shards"][1]["file"] = "shards/00000.leaves"; },
     {"two shards use the file"}},
    {"two shards in one file",
     [](json& m) { m["shards"][2]["file"] = m["shards"][1]["file"]; },
     {"two shards use the file"}},
    {"two shards of one expert",
     [](json& m) { m["shards"][2]["expertKey"] = m["shards"][1]["expertKey"]; },
     {"two shards"}},
    {"a shard number that is left out",
     [](json& m) { m["shards"][2]["index"] = 7; },
     {"shards[2].index"}},
    {"an unknown type of shard",
     [](json& m) { m["shards"][1]["type"] = "odd"; },
     {"'odd' is not known"}},
    {"an enormous shard",
     [](json& m) { m["shards"][1]["size"] = 0xffff'ffff'ffff'f000; },
     {"shards[1].size"}},
    {"an odd size", [](json& m) { m["shards"][1]["size"] = 4097; }, {"multiple of 4096"}},
    {"a short hash", [](json& m) { m["shards"][1]["hash"] = "abc"; }, {"64 hexadecimal"}},
    {"another hash",
     [](json& m) { m["shards"][0]["hash"] = std::string(64, '0'); },
     {"shards/00000", "manifest"}},
    {"a name that is a path", [](json& m) { m["modelId"] = "../x"; }, {"modelId"}},
    {"an unknown family",
     [](json& m) { m["architecture"]["family"] = "bert"; },
     {"'bert' is not supported"}},
    {"no architecture", [](json& m) { m["architecture"] = json::object(); }, {"manifest.json"}},
    {"more layers than there are",
     [](json& m) { m["architecture"]["numLayers"] = 4; },
     {"layers.3."}},
    {"no layers", [](json& m) { m["architecture"]["numLayers"] = 0; }, {"manifest.json"}},
    {"layers without end",
     [](json& m) { m["architecture"]["numLayers"] = 2'000'000'000; },
     {"manifest.json"}},
    {"more experts per token than experts",
     [](json& m) { m["architecture"]["expertsPerToken"] = 9; },
     {"manifest.json"}},
    {"heads that do not fit",
     [](json& m) { m["architecture"]["numHeads"] = 5; },
     {"manifest.json"}},
    {"a vocabulary that does not fit",
     [](json& m) { m["architecture"]["vocabSize"] = 1000; },
     {"embed_tokens.weight"}},
};

class ManifestTest : public testing::Test {
 protected:
  fs::path file() const { return model_.path() / "manifest.json"; }

  void ExpectRefusedWith(const std::vector<std::string>& parts) const {
    ExpectRefused(Doppler({"run", model_.path(), "-p", "Once", "-n", "1"}), kFailed, parts);
  }

  const ConvertedModel model_{Golden("mixtral")};
};

TEST_F(ManifestTest, EditsAreRefusedAndNamed) {
  const std::string good = ReadTextFile(file());
  for (const Edit& edit : kEdits) {
    SCOPED_TRACE(edit.name);
    json manifest = json::parse(good);
    edit.change(manifest);
    Overwrite(file(), manifest.dump());
    ExpectRefusedWith(edit.parts);
  }
  Overwrite(file(), json::parse(good).dump());
  ExpectDone(Doppler({"run", model_.path(), "-p", "Once", "-n", "1"}));
}

TEST_F(ManifestTest, TextThatIsNoManifest) {
  const std::string good = ReadTextFile(file());
  for (const std::string& text :
       {std::string(), std::string("not JSON"), std::string("\0\0\0", 3), std::string("[]"),
        std::string("{}"), std::string("null"), std::string(100'000, '['), good + "x",
        good.substr(0, good.size() / 2)}) {
    SCOPED_TRACE(text.substr(0, 20));
    Overwrite(file(), text);
    ExpectRefusedWith({"manifest.json"});
    for (const char* command : {"inspect", "verify", "plan"}) {
      ExpectRefused(Doppler({command, model_.path()}), kFailed, {"manifest.json"});
    }
  }
}

TEST_F(ManifestTest, AKeyThatStandsTwice) {
  std::string text = ReadTextFile(file());
  text.insert(1, "\"format\": \"rdrr\", ");
  Overwrite(file(), text);
  ExpectRefusedWith({"manifest.json", "\"format\"", "twice"});
}

TEST_F(ManifestTest, NoManifest) {
  fs::remove(file());
  ExpectRefusedWith({model_.path(), "no manifest.json", "doppler convert"});
}

}  // namespace
}  // namespace doppler
