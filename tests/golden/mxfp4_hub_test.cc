// The hub's MXFP4 against the same experts in a bf16 GGUF: every value must be equal.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/quantize.h"
#include "convert/hub_quantization.h"
#include "format/gguf.h"
#include "format/safetensors.h"

namespace doppler {
namespace {

const std::string kGolden = DOPPLER_SOURCE_DIR "/tests/data/golden/";
constexpr std::size_t kExperts = 8;
constexpr std::size_t kModelDim = 64;
constexpr std::size_t kFfnDim = 96;

std::vector<float> HubValues(const SafetensorsFile& file, const std::string& name) {
  const auto nibbles = file.Read(name + "_blocks", "U8");
  const auto exponents = file.Read(name + "_scales", "U8");
  std::vector<std::byte> blocks(nibbles.size() + exponents.size());
  JoinBlocks(nibbles, exponents, 1, blocks);
  std::vector<float> values(2 * nibbles.size());
  Dequantize(DType::kMxfp4, blocks, values);
  return values;
}

std::vector<float> GgufValues(const GgufModel& model, const std::string& name) {
  const GgufTensor& tensor = model.tensors().at(name);
  std::vector<std::byte> bytes(tensor.size);
  model.files()[tensor.file].ReadAt(tensor.offset, bytes);
  std::size_t count = 1;
  for (const std::int64_t extent : tensor.shape) count *= static_cast<std::size_t>(extent);
  std::vector<float> values(count);
  Dequantize(DTypeOfGgml(tensor.type).value(), bytes, values);
  return values;
}

TEST(Mxfp4OfTheHub, HasTheValuesOfTheGguf) {
  const SafetensorsFile hub(kGolden + "gpt-oss/model.safetensors");
  const GgufModel gguf(kGolden + "gguf/gpt-oss-bf16.gguf");
  for (int layer = 0; layer < 3; ++layer) {
    const std::string experts = "model.layers." + std::to_string(layer) + ".mlp.experts.";
    const std::string block = "blk." + std::to_string(layer) + ".";
    EXPECT_EQ(HubValues(hub, experts + "down_proj"),
              GgufValues(gguf, block + "ffn_down_exps.weight"));
    // The hub has the rows of gate and up in turn.
    const auto both = HubValues(hub, experts + "gate_up_proj");
    const auto gate = GgufValues(gguf, block + "ffn_gate_exps.weight");
    const auto up = GgufValues(gguf, block + "ffn_up_exps.weight");
    ASSERT_EQ(both.size(), kExperts * 2 * kFfnDim * kModelDim);
    ASSERT_EQ(gate.size() + up.size(), both.size());
    for (std::size_t row = 0; row < kExperts * kFfnDim; ++row) {
      for (std::size_t col = 0; col < kModelDim; ++col) {
        ASSERT_EQ(both[2 * row * kModelDim + col], gate[row * kModelDim + col]) << row;
        ASSERT_EQ(both[(2 * row + 1) * kModelDim + col], up[row * kModelDim + col]) << row;
      }
    }
  }
}

}  // namespace
}  // namespace doppler
