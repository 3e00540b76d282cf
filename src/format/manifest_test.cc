#include "format/manifest.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error_testing.h"

namespace doppler {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

const std::string kHash(64, 'a');

// Two shards: a dense one with two tensors, and expert 1 of layer 0.
json ValidDocument() {
  const auto tensor = [](int shard, int offset, int size, json shape, const char* dtype) {
    return json{{"shard", shard}, {"offset", offset}, {"size", size}, {"shape", std::move(shape)},
                {"dtype", dtype}, {"layout", "row"}};
  };
  const std::string expert = "layers.0.mlp.experts.1.";
  return {
      {"format", "rdrr"},
      {"version", 1},
      {"modelId", "tiny-moe.v1_q8"},
      {"architecture", {{"family", "qwen3_moe"}, {"numLayers", 1}}},
      {"shardingStrategy", "expert"},
      {"defaultWeightLayout", "row"},
      {"shards",
       {{{"index", 0},
         {"file", "shards/00000.bin"},
         {"type", "dense"},
         {"size", 8192},
         {"hash", kHash}},
        {{"index", 1},
         {"file", "shards/00001.bin"},
         {"type", "expert"},
         {"expertKey", "0_1"},
         {"size", 12288},
         {"hash", kHash}}}},
      {"tensors",
       {{"norm.weight", tensor(0, 0, 256, {64}, "f32")},
        {"embed_tokens.weight", tensor(0, 4096, 2048, {16, 64}, "f16")},
        {expert + "gate_proj.weight", tensor(1, 0, 32 * 68, {32, 64}, "q8_0")},
        {expert + "up_proj.weight", tensor(1, 4096, 32 * 68, {32, 64}, "q8_0")},
        {expert + "down_proj.weight", tensor(1, 8192, 64 * 34, {64, 32}, "q8_0")}}},
  };
}

std::string ParseError(const json& document) {
  return MessageOf([&] { ParseManifest(document.dump(), "m.json"); });
}

TEST(Manifest, ReadsWhatItSays) {
  const Manifest manifest = ParseManifest(ValidDocument().dump(), "m.json");
  EXPECT_EQ(manifest.model_id, "tiny-moe.v1_q8");
  EXPECT_EQ(json::parse(manifest.architecture)["numLayers"], 1);
  EXPECT_EQ(manifest.strategy, ShardingStrategy::kExpert);
  ASSERT_EQ(manifest.shards.size(), 2u);
  EXPECT_EQ(manifest.shards[0].type, ShardType::kDense);
  EXPECT_EQ(manifest.shards[1].expert_key, "0_1");
  EXPECT_EQ(manifest.shards[1].size, 12288u);
  EXPECT_EQ(ToHex(manifest.shards[1].hash), kHash);
  EXPECT_EQ(LeavesFileOf(manifest.shards[0]), "shards/00000.leaves");
  const TensorEntry& embedding = manifest.Tensor("embed_tokens.weight");
  EXPECT_EQ(embedding.offset, 4096u);
  EXPECT_EQ(embedding.shape, (std::vector<std::int64_t>{16, 64}));
  EXPECT_EQ(embedding.dtype, DType::kF16);
  EXPECT_THAT(MessageOf([&] { manifest.Tensor("lm_head.weight"); }), HasSubstr("lm_head.weight"));
}

TEST(Manifest, SerialisesToTheSameBytes) {
  json document = ValidDocument();
  document["tensors"]["norm.weight"].update(
      {{"originalShape", {128}}, {"sliceDim", 0}, {"sliceIdx", 1}, {"sliceCount", 2}});
  const std::string first = SerializeManifest(ParseManifest(document.dump(), "m.json"));
  EXPECT_EQ(json::parse(first), document);
  EXPECT_EQ(SerializeManifest(ParseManifest(first, "again")), first);
  EXPECT_THAT(first, HasSubstr("\n    { \"index\": 1, \"file\": \"shards/00001.bin\", \"type\": "
                               "\"expert\", \"expertKey\": \"0_1\", \"size\": 12288, "));
}

TEST(Manifest, LayoutDefaultsToTheManifests) {
  json document = ValidDocument();
  document["tensors"]["norm.weight"].erase("layout");
  EXPECT_EQ(ParseManifest(document.dump(), "m").Tensor("norm.weight").layout, WeightLayout::kRow);
}

// A change to the valid document, and what the message must name.
struct Damage {
  const char* pointer;  // JSON pointer; the value there is replaced
  json value;           // discarded: erased instead
  const char* place;
  const char* problem;
};

const json kErase = json(json::value_t::discarded);
const char* const kNorm = "tensors[\"norm.weight\"]";

std::vector<Damage> Damages() {
  return {
      {"/format", "gguf", "format", "rdrr"},
      {"/format", kErase, "the top level", "'format' is missing"},
      {"/version", 2, "version", "newer Doppler"},
      {"/version", "1", "version", "integer"},
      {"/extra", 1, "the top level", "\"extra\" is not known"},
      {"/modelId", "", "modelId", "name"},
      {"/modelId", "../x", "modelId", "name"},
      {"/architecture", "x", "architecture", "object"},
      {"/shardingStrategy", "random", "shardingStrategy", "'random' is not known"},
      {"/defaultWeightLayout", "diagonal", "defaultWeightLayout", "'diagonal' is not known"},
      {"/shards", json::array(), "shards", "no shards"},
      {"/shards", 3, "shards", "list"},
      {"/shards/1/index", 2, "shards[1].index", "numbered"},
      {"/shards/1/index", -1, "shards[1].index", "negative"},
      {"/shards/0/file", "/etc/passwd", "shards[0].file", "relative"},
      {"/shards/0/file", "shards/../../x", "shards[0].file", "relative"},
      {"/shards/0/file", "a\\b", "shards[0].file", "relative"},
      {"/shards/0/file", std::string("a\0b", 3), "shards[0].file", "relative"},
      {"/shards/0/file", "a//b", "shards[0].file", "relative"},
      {"/shards/0/file", "", "shards[0].file", "relative"},
      {"/shards/0/file", "shards/00001.bin", "shards[1].file", "two shards"},
      {"/shards/0/file", "shards/00001.leaves", "shards[1].file", "two shards"},
      {"/shards/0/type", "sparse", "shards[0].type", "'sparse' is not known"},
      {"/shards/0/size", 0, "shards[0].size", "multiple of 4096"},
      {"/shards/0/size", 8193, "shards[0].size", "multiple of 4096"},
      {"/shards/0/size", ~std::uint64_t{4095}, "shards[0].size", "size"},
      {"/shards/0/size", 8192.0, "shards[0].size", "integer"},
      {"/shards/0/hash", "ab", "shards[0].hash", "64"},
      {"/shards/0/hash", std::string(64, 'x'), "shards[0].hash", "64"},
      {"/shards/0/note", "", "shards[0]", "not known"},
      {"/shards/0/expertKey", "0_0", "shards[0].expertKey", "only a shard"},
      {"/shards/1/expertKey", kErase, "shards[1]", "needs the key"},
      {"/shards/1/expertKey", "0_", "shards[1].expertKey", "LAYER_EXPERT"},
      {"/shards/1/expertKey", "0_01", "shards[1].expertKey", "LAYER_EXPERT"},
      {"/shards/1/expertKey", "-1_1", "shards[1].expertKey", "LAYER_EXPERT"},
      {"/shards/1/expertKey", "0_99999999999", "shards[1].expertKey", "LAYER_EXPERT"},
      {"/shards/1/expertKey", "0_2", "tensors", "'0_2' must hold nothing else"},
      {"/tensors/norm.weight/shard", 2, ".shard", "only 2 shards"},
      {"/tensors/norm.weight/shard", 1, kNorm, "nothing else"},
      {"/tensors/norm.weight/offset", 8192, kNorm, "beyond shard 0"},
      {"/tensors/norm.weight/offset", ~std::uint64_t{63}, kNorm, "beyond shard 0"},
      {"/tensors/norm.weight/offset", 32, kNorm, "multiple of 64"},
      {"/tensors/norm.weight/offset", 4096, "the top level", "overlap"},
      {"/tensors/norm.weight/offset", 6080, "the top level", "overlap"},
      {"/tensors/norm.weight/size", 255, ".size", "takes 256 bytes, not 255"},
      {"/tensors/norm.weight/dtype", "tq1_0", ".dtype", "'tq1_0' is not known"},
      {"/tensors/norm.weight/dtype", "q8_0", ".size", "takes 68 bytes"},
      {"/tensors/norm.weight/dtype", "q4_k", kNorm, "not possible"},
      {"/tensors/norm.weight/layout", "diagonal", ".layout", "not known"},
      {"/tensors/norm.weight/layout", "column", kNorm, "'column' is not possible for this shape"},
      {"/tensors/norm.weight/layout", "rows16", kNorm, "'rows16' is not possible for this shape"},
      {"/tensors/embed_tokens.weight/layout", "rows16", "embed_tokens",
       "'rows16' is not possible for this shape in format 'f16'"},
      {"/tensors/norm.weight/shape", json::array(), ".shape", "1 to 8"},
      {"/tensors/norm.weight/shape", json::array({1, 1, 1, 1, 1, 1, 1, 1, 64}), ".shape", "1 to 8"},
      {"/tensors/norm.weight/shape", json::array({0}), ".shape[0]", "extent"},
      {"/tensors/norm.weight/shape", json::array({-64}), ".shape[0]", "negative"},
      {"/tensors/norm.weight/shape", json::array({1LL << 40, 1LL << 40}), kNorm, "not possible"},
      {"/tensors/norm.weight/note", 1, kNorm, "not known"},
      {"/tensors/norm.weight/sliceDim", 0, kNorm, "'originalShape' is missing"},
  };
}

TEST(Manifest, RefusesDamageAndSaysWhere) {
  for (const Damage& damage : Damages()) {
    json document = ValidDocument();
    const json::json_pointer pointer(damage.pointer);
    if (damage.value.is_discarded()) {
      document.at(pointer.parent_pointer()).erase(pointer.back());
    } else {
      document[pointer] = damage.value;
    }
    EXPECT_THAT(ParseError(document),
                AllOf(HasSubstr("m.json, at "), HasSubstr(damage.place), HasSubstr(damage.problem)))
        << damage.pointer << " = " << damage.value.dump();
  }
}

TEST(Manifest, RefusesSlicesThatDoNotAddUp) {
  const json good = {{"originalShape", {128}}, {"sliceDim", 0}, {"sliceIdx", 1}, {"sliceCount", 2}};
  const auto with = [&](const char* key, json value) {
    json document = ValidDocument();
    json slice = good;
    slice[key] = std::move(value);
    document["tensors"]["norm.weight"].update(slice);
    return ParseError(document);
  };
  EXPECT_EQ(with("sliceIdx", 0), "no error");
  EXPECT_THAT(with("sliceIdx", 2), HasSubstr("only 2 slices"));
  EXPECT_THAT(with("sliceCount", 0), HasSubstr("only 0 slices"));
  EXPECT_THAT(with("sliceDim", 1), HasSubstr("too large"));
  EXPECT_THAT(with("originalShape", {127}), HasSubstr("do not add up"));
  EXPECT_THAT(with("originalShape", {128, 1}), HasSubstr("do not add up"));
}

TEST(Manifest, RefusesTextThatIsNotAManifest) {
  const auto message = [](const std::string& text) {
    return MessageOf([&] { ParseManifest(text, "m.json"); });
  };
  EXPECT_THAT(message(""), HasSubstr("m.json: this is not valid JSON"));
  EXPECT_THAT(message(ValidDocument().dump().substr(0, 500)), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("[]"), HasSubstr("must be an object"));
  EXPECT_THAT(message(std::string(100000, '[')), HasSubstr("nested"));
  EXPECT_THAT(message("{\"format\": \"rdrr\", \"format\": \"rdrr\"}"), HasSubstr("stands twice"));
  std::string twice = ValidDocument().dump();
  twice.replace(twice.find("\"size\":256"), 10, "\"size\":256,\"size\":256");
  EXPECT_THAT(message(twice), HasSubstr("stands twice"));
}

TEST(Manifest, RefusesAnExpertWithTwoShards) {
  json document = ValidDocument();
  json copy = document["shards"][1];
  copy["index"] = 2;
  copy["file"] = "shards/00002.bin";
  document["shards"].push_back(copy);
  EXPECT_THAT(ParseError(document), HasSubstr("two shards"));
}

TEST(FindExpertRecord, GathersAnExpert) {
  const Manifest manifest = ParseManifest(ValidDocument().dump(), "m.json");
  const ExpertRecord record = FindExpertRecord(manifest, LayerId(0), ExpertId(1));
  EXPECT_EQ(record.shard, ShardId(1));
  EXPECT_EQ(record.offset, 0u);
  EXPECT_EQ(record.size, 12288u);
  EXPECT_EQ(record.up.offset, 4096u);
  EXPECT_EQ(record.down.shape, (std::vector<std::int64_t>{64, 32}));
  EXPECT_THAT(MessageOf([&] { FindExpertRecord(manifest, LayerId(0), ExpertId(0)); }),
              HasSubstr("layers.0.mlp.experts.0.gate_proj.weight"));
}

TEST(FindExpertRecord, MayHaveGroupsOfRows) {
  const std::string down = "layers.0.mlp.experts.1.down_proj.weight";
  json document = ValidDocument();
  document["tensors"][down]["layout"] = "rows16";
  const Manifest manifest = ParseManifest(document.dump(), "m.json");
  EXPECT_EQ(manifest.Tensor(down).layout, WeightLayout::kRows16);
  EXPECT_EQ(json::parse(SerializeManifest(manifest)), document);
  const ExpertRecord record = FindExpertRecord(manifest, LayerId(0), ExpertId(1));
  EXPECT_EQ(record.down.layout, WeightLayout::kRows16);
  EXPECT_EQ(record.gate.layout, WeightLayout::kRow);
}

TEST(Manifest, NamesTheLayoutsOfGroups) {
  const std::string down = "layers.0.mlp.experts.1.down_proj.weight";
  for (const auto& [name, layout] : {std::pair("rows16", WeightLayout::kRows16),
                                     std::pair("rows16-steps", WeightLayout::kRows16Steps)}) {
    EXPECT_EQ(LayoutName(layout), name);
    EXPECT_EQ(LayoutFromName(name), layout);
  }
  // Of q6_k alone.
  json document = ValidDocument();
  document["tensors"][down]["layout"] = "rows16-steps";
  EXPECT_THAT(MessageOf([&] { ParseManifest(document.dump(), "m.json"); }),
              HasSubstr("'rows16-steps' is not possible for this shape in format"));
}

TEST(FindExpertRecord, RefusesWhatIsNotARecord) {
  const auto message = [](const std::function<void(Manifest&, TensorEntry&)>& damage) {
    Manifest manifest = ParseManifest(ValidDocument().dump(), "m.json");
    damage(manifest, manifest.tensors.at("layers.0.mlp.experts.1.down_proj.weight"));
    return MessageOf([&] { FindExpertRecord(manifest, LayerId(0), ExpertId(1)); });
  };
  EXPECT_THAT(message([](Manifest&, TensorEntry& down) { down.shard = ShardId(0); }),
              HasSubstr("several shards"));
  EXPECT_THAT(message([](Manifest&, TensorEntry& down) { down.offset = 8192 + 64; }),
              HasSubstr("4096-byte boundary"));
  EXPECT_THAT(message([](Manifest&, TensorEntry& down) { down.offset = 12288; }),
              HasSubstr("do not follow"));
  EXPECT_THAT(message([](Manifest&, TensorEntry& down) {
                down.shape = {32, 64};
              }),
              HasSubstr("shapes"));
  EXPECT_THAT(message([](Manifest&, TensorEntry& down) { down.layout = WeightLayout::kColumn; }),
              HasSubstr("not a whole matrix"));
  EXPECT_THAT(message([](Manifest& manifest, TensorEntry&) { manifest.shards[1].size = 16384; }),
              HasSubstr("does not fill"));
  EXPECT_THAT(message([](Manifest& manifest, TensorEntry&) { manifest.shards[1].size = 8192; }),
              HasSubstr("beyond its shard"));
}

TEST(FindExpertRecord, StartsOnALeafAmongOtherThings) {
  const auto at = [](int offset) {
    json document = ValidDocument();
    document["shards"][1]["type"] = "layer";
    document["shards"][1].erase("expertKey");
    document["shards"][1]["size"] = 65536;
    for (auto& [name, tensor] : document["tensors"].items()) {
      if (tensor["shard"] == 1) tensor["offset"] = tensor["offset"].get<int>() + offset;
    }
    const Manifest manifest = ParseManifest(document.dump(), "m.json");
    return MessageOf([&] { FindExpertRecord(manifest, LayerId(0), ExpertId(1)); });
  };
  EXPECT_EQ(at(16384), "no error");
  EXPECT_THAT(at(4096), HasSubstr("leaf"));
}

TEST(TensorBytes, OfGroupsAreThoseOfTheRows) {
  using Shape = std::vector<std::int64_t>;
  const auto bytes = [](DType dtype, const Shape& shape) {
    return TensorBytes(dtype, shape, WeightLayout::kRows16);
  };
  EXPECT_EQ(bytes(DType::kQ8_0, Shape{48, 64}), 48u * 68);
  EXPECT_EQ(bytes(DType::kQ6_K, Shape{48, 256}), 48u * 210);
  EXPECT_EQ(TensorBytes(DType::kQ6_K, Shape{48, 256}, WeightLayout::kRows16Steps), 48u * 210);
  EXPECT_FALSE(TensorBytes(DType::kQ5_K, Shape{48, 256}, WeightLayout::kRows16Steps));
  EXPECT_FALSE(bytes(DType::kQ8_0, Shape{40, 64}));
  EXPECT_FALSE(bytes(DType::kQ8_0, Shape{48, 65}));
  EXPECT_FALSE(bytes(DType::kQ8_0, Shape{64}));
  EXPECT_FALSE(bytes(DType::kQ8_0, Shape{2, 48, 64}));
  EXPECT_FALSE(bytes(DType::kBf16, Shape{48, 64}));
  EXPECT_FALSE(bytes(DType::kF8E4M3, Shape{128, 128}));
}

TEST(TensorBytes, FollowsTheLayout) {
  const std::vector<std::int64_t> shape = {64, 48};
  EXPECT_EQ(TensorBytes(DType::kF16, shape), 64u * 48 * 2);
  EXPECT_FALSE(TensorBytes(DType::kQ8_0, shape, WeightLayout::kRow));
  EXPECT_EQ(TensorBytes(DType::kQ8_0, shape, WeightLayout::kColumn), 48u * 2 * 34);
  EXPECT_FALSE(TensorBytes(DType::kF32, std::span<const std::int64_t>()));
  EXPECT_EQ(TensorBytes(DType::kF8E4M3, std::array<std::int64_t, 2>{129, 131}),
            129u * 131 + 1 + 4 * 2 * 2);
  EXPECT_EQ(TensorBytes(DType::kF8E4M3, std::array<std::int64_t, 2>{128, 256}), 128u * 256 + 8);
  EXPECT_FALSE(TensorBytes(DType::kF8E4M3, std::array<std::int64_t, 1>{128}));
  EXPECT_FALSE(
      TensorBytes(DType::kF8E4M3, std::array<std::int64_t, 2>{128, 256}, WeightLayout::kColumn));
  EXPECT_FALSE(TensorBytes(
      DType::kF8E4M3, std::array<std::int64_t, 2>{std::int64_t{1} << 32, std::int64_t{1} << 31}));
}

}  // namespace
}  // namespace doppler
