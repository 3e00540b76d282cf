#include "convert/hub_quantization.h"

#include <array>
#include <cstring>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "backend/quantize.h"
#include "base/error_testing.h"
#include "convert/convert.h"
#include "convert/sample_checkpoint.h"
#include "format/manifest.h"
#include "format/safetensors.h"
#include "io/file.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

json Int4Config() {
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"ignore", {"lm_head"}},
          {"kv_cache_scheme", nullptr},
          {"config_groups",
           {{"group_0",
             {{"input_activations", nullptr},
              {"targets", {"Linear"}},
              {"weights",
               {{"num_bits", 4},
                {"type", "int"},
                {"symmetric", true},
                {"strategy", "group"},
                {"group_size", 32}}}}}}}};
}
json Fp8Config() {
  return {{"quant_method", "fp8"}, {"fmt", "e4m3"}, {"weight_block_size", {128, 128}}};
}

HubQuantization Parsed(const json& config) {
  return ParseHubQuantization(json{{"quantization_config", config}}.dump(), "c.json");
}
std::string ErrorOf(const json& config) {
  return MessageOf([&] { Parsed(config); });
}

TEST(HubQuantization, KnowsTheMethodsThatCanBeComputed) {
  EXPECT_EQ(ParseHubQuantization("{}", "c.json"), HubQuantization::kNone);
  EXPECT_EQ(Parsed(nullptr), HubQuantization::kNone);
  EXPECT_EQ(Parsed({{"quant_method", "mxfp4"}}), HubQuantization::kMxfp4);
  EXPECT_EQ(Parsed(Fp8Config()), HubQuantization::kFp8);
  EXPECT_EQ(Parsed(Int4Config()), HubQuantization::kInt4);
}

TEST(HubQuantization, NamesWhatItCannotCompute) {
  EXPECT_THAT(ErrorOf({{"quant_method", "awq"}}), AllOf(HasSubstr("awq"), HasSubstr("c.json")));
  EXPECT_THAT(ErrorOf(json::object()), HasSubstr("quant_method"));
  EXPECT_THAT(ErrorOf({{"quant_method", "fp8"}}), HasSubstr("weight_block_size"));
  json fp8 = Fp8Config();
  fp8["weight_block_size"] = {64, 64};
  EXPECT_THAT(ErrorOf(fp8), AllOf(HasSubstr("weight_block_size"), HasSubstr("[64,64]")));
  fp8 = Fp8Config();
  fp8["fmt"] = "e5m2";
  EXPECT_THAT(ErrorOf(fp8), HasSubstr("e5m2"));
  const std::vector<std::pair<std::string, json>> others = {
      {"num_bits", 8},         {"group_size", 128}, {"symmetric", false},
      {"strategy", "channel"}, {"type", "float"},   {"actorder", "group"}};
  for (const auto& [key, value] : others) {
    json int4 = Int4Config();
    int4["config_groups"]["group_0"]["weights"][key] = value;
    EXPECT_THAT(ErrorOf(int4), AllOf(HasSubstr(key), HasSubstr(value.dump())));
  }
  json int4 = Int4Config();
  int4["format"] = "float-quantized";
  EXPECT_THAT(ErrorOf(int4), HasSubstr("float-quantized"));
  int4 = Int4Config();
  int4["config_groups"] = json::object();
  EXPECT_THAT(ErrorOf(int4), HasSubstr("empty"));
}

TEST(JoinBlocks, PairsNibblesAndCanBeUndone) {
  // Values 0, 1, ... 15, 15, 14, ... 0 in the hub's order, twice.
  std::vector<std::byte> nibbles;
  for (int block = 0; block < 2; ++block) {
    for (unsigned i = 0; i < 8; ++i) nibbles.push_back(static_cast<std::byte>(0x10 + 0x22 * i));
    for (unsigned i = 0; i < 8; ++i) nibbles.push_back(static_cast<std::byte>(0xef - 0x22 * i));
  }
  const std::vector<std::byte> scales = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  std::vector<std::byte> blocks(2 * 18);
  JoinBlocks(nibbles, scales, 2, blocks);
  for (std::size_t i = 0; i < 16; ++i) {
    // Value i is i and value i + 16 is 15 - i.
    EXPECT_EQ(blocks[2 + i], static_cast<std::byte>(i | (15 - i) << 4)) << i;
    EXPECT_EQ(blocks[20 + i], blocks[2 + i]) << i;
  }
  EXPECT_EQ(blocks[18], std::byte{3});
  std::vector<std::byte> nibbles_again(nibbles.size());
  std::vector<std::byte> scales_again(scales.size());
  SplitBlocks(blocks, 2, nibbles_again, scales_again);
  EXPECT_EQ(nibbles_again, nibbles);
  EXPECT_EQ(scales_again, scales);
}

// A sample of the hub, some of whose tensors a test replaces by quantised ones.
class QuantizedHubTest : public testing::Test {
 protected:
  static constexpr int kDim = 160;  // partial squares of the grid
  static constexpr const char* kName = "layers.0.self_attn.q_proj.weight";

  QuantizedHubTest() : sample_(MakeSample("llama", kDim)) {
    fs::create_directory(source());
    WriteHub(sample_, source());
    const SafetensorsFile file(Weights());
    for (const auto& [name, tensor] : file.tensors()) {
      parts_[name] = {tensor.dtype, tensor.shape, file.Read(name, tensor.dtype)};
    }
    for (const TensorSpec& spec : sample_.specs) {
      if (spec.name == kName) shape_ = spec.shape;
    }
    parts_.erase(Hub(""));
  }

  struct Part {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;
  };

  fs::path source() const { return folder_.path() / "hub"; }
  fs::path Weights() const { return source() / "model.safetensors"; }
  static std::string Hub(const std::string& suffix) {
    return std::string("model.") + kName + suffix;
  }
  std::size_t rows() const { return static_cast<std::size_t>(shape_[0]); }
  std::size_t cols() const { return static_cast<std::size_t>(shape_[1]); }

  static std::vector<std::byte> Pattern(std::size_t count, unsigned step) {
    std::vector<std::byte> out(count);
    for (std::size_t i = 0; i < count; ++i) {
      // No E4M3 is 0x7f or 0xff, which are no numbers.
      out[i] = static_cast<std::byte>((i * step + i / 7) % 0x7f);
    }
    return out;
  }
  void AddFp8() {
    const std::vector<std::int64_t> grid = {(shape_[0] + 127) / 128, (shape_[1] + 127) / 128};
    std::vector<std::byte> scales;
    for (std::int64_t i = 0; i < grid[0] * grid[1]; ++i) {
      const float scale = 0.01f * static_cast<float>(i + 1);
      const auto bytes = std::as_bytes(std::span(&scale, 1));
      scales.insert(scales.end(), bytes.begin(), bytes.end());
    }
    parts_[Hub("")] = {"F8_E4M3", shape_, Pattern(rows() * cols(), 5)};
    parts_[Hub("_scale_inv")] = {"F32", grid, scales};
    config_ = Fp8Config();
  }
  void AddInt4() {
    parts_[Hub("_packed")] = {"I32", {shape_[0], shape_[1] / 8}, Pattern(rows() * cols() / 2, 11)};
    parts_[Hub("_scale")] = {
        "BF16", {shape_[0], shape_[1] / 32}, Pattern(rows() * cols() / 32 * 2, 3)};
    parts_[Hub("_shape")] = {"I64", {2}, std::vector<std::byte>(16)};
    config_ = Int4Config();
  }

  Manifest Run(std::optional<DType> quantize = std::nullopt) {
    json config = json::parse(HubConfigJson(sample_.config));
    config["quantization_config"] = config_;
    fs::remove(source() / "config.json");
    WriteTextFile(source() / "config.json", config.dump());
    std::vector<SafetensorsOutput> outputs;
    for (const auto& [name, part] : parts_) {
      outputs.push_back(
          {.name = name, .dtype = part.dtype, .shape = part.shape, .values = part.bytes});
    }
    fs::remove(Weights());
    WriteSafetensors(Weights(), outputs);
    ConvertOptions options;
    options.checkpoint = source();
    options.output = folder_.path() / "out";
    options.quantize = quantize;
    options.layout = WeightLayout::kRow;
    Convert(options, [](Bytes, Bytes) {});
    return ParseManifest(ReadTextFile(options.output / "manifest.json"), "manifest.json");
  }
  std::string Failure() {
    return MessageOf([&] { Run(); });
  }
  std::vector<std::byte> Stored(const Manifest& manifest) const {
    const TensorEntry& tensor = manifest.Tensor(kName);
    const File file(folder_.path() / "out" / manifest.shards[tensor.shard.index()].file,
                    OpenMode::kRead);
    std::vector<std::byte> bytes(tensor.size);
    file.ReadAt(tensor.offset, bytes);
    return bytes;
  }

  TempFolder folder_;
  SampleModel sample_;
  std::vector<std::int64_t> shape_;
  std::map<std::string, Part> parts_;
  json config_;
};

TEST_F(QuantizedHubTest, KeepsFp8WithItsGrid) {
  AddFp8();
  const Manifest manifest = Run();
  EXPECT_EQ(manifest.Tensor(kName).dtype, DType::kF8E4M3);
  std::vector<std::byte> expected = parts_[Hub("")].bytes;
  expected.resize((expected.size() + 3) / 4 * 4);
  const auto& scales = parts_[Hub("_scale_inv")].bytes;
  expected.insert(expected.end(), scales.begin(), scales.end());
  EXPECT_EQ(Stored(manifest), expected);
  // Tensors that stayed in bf16 are what they were.
  EXPECT_EQ(manifest.Tensor("layers.1.self_attn.q_proj.weight").dtype, DType::kBf16);
}

TEST_F(QuantizedHubTest, QuantisesFp8FromItsValues) {
  AddFp8();
  const Manifest kept = Run();
  const std::vector<std::byte> bytes = Stored(kept);
  const WeightMatrix matrix = {.data = bytes.data(),
                               .dtype = DType::kF8E4M3,
                               .rows = static_cast<int>(rows()),
                               .cols = static_cast<int>(cols())};
  std::vector<float> values(rows() * cols());
  for (std::size_t row = 0; row < rows(); ++row) {
    DequantizeColumns(matrix, row, 0, std::span(values).subspan(row * cols(), cols()));
  }
  std::vector<std::byte> expected(*RowBytes(DType::kQ8_0, values.size()));
  Quantize(DType::kQ8_0, values, expected);
  fs::remove_all(folder_.path() / "out");
  EXPECT_EQ(Stored(Run(DType::kQ8_0)), expected);
}

TEST_F(QuantizedHubTest, KeepsPackedInt4) {
  AddInt4();
  const Manifest manifest = Run();
  EXPECT_EQ(manifest.Tensor(kName).dtype, DType::kInt4G32);
  const std::vector<std::byte> blocks = Stored(manifest);
  std::vector<std::byte> nibbles(rows() * cols() / 2);
  std::vector<std::byte> scales(rows() * cols() / 16);
  SplitBlocks(blocks, 2, nibbles, scales);
  EXPECT_EQ(nibbles, parts_[Hub("_packed")].bytes);
  EXPECT_EQ(scales, parts_[Hub("_scale")].bytes);
}

TEST_F(QuantizedHubTest, NamesWhatIsWrongWithFp8) {
  AddFp8();
  const auto whole = parts_;
  parts_.erase(Hub("_scale_inv"));
  EXPECT_THAT(Failure(), AllOf(HasSubstr("weight_scale_inv"), HasSubstr("missing")));
  parts_ = whole;
  parts_[Hub("_scale_inv")] = {"F32", {1}, std::vector<std::byte>(4)};
  EXPECT_THAT(Failure(), HasSubstr("weight_scale_inv' is [1]"));
  parts_[Hub("_scale_inv")] = {"BF16", {2, 2}, std::vector<std::byte>(8)};
  EXPECT_THAT(Failure(), AllOf(HasSubstr("weight_scale_inv"), HasSubstr("BF16")));
  parts_ = whole;
  config_ = nullptr;
  EXPECT_THAT(Failure(), AllOf(HasSubstr(kName), HasSubstr("F8_E4M3")));
}

TEST_F(QuantizedHubTest, NamesWhatIsWrongWithInt4) {
  AddInt4();
  const auto whole = parts_;
  parts_.erase(Hub("_scale"));
  EXPECT_THAT(Failure(), AllOf(HasSubstr("weight_scale"), HasSubstr("missing")));
  parts_ = whole;
  parts_[Hub("_packed")] = {"I32", {1, 2}, std::vector<std::byte>(8)};
  EXPECT_THAT(Failure(), HasSubstr("weight_packed' is [1, 2]"));
  parts_ = whole;
  config_ = nullptr;
  EXPECT_THAT(Failure(), AllOf(HasSubstr(kName), HasSubstr("missing")));
}

}  // namespace
}  // namespace doppler
