#include "convert/hub_quantization.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "backend/quantize.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "format/json.h"

namespace doppler {
namespace {

constexpr std::size_t kNibbleBytes = 16;
constexpr Bytes kQuantizedPortion = 4 * kMiB;

unsigned NibbleOf(std::span<const std::byte> bytes, std::size_t value) {
  return (std::to_integer<unsigned>(bytes[value / 2]) >> (4 * (value % 2))) & 15u;
}

std::byte TwoNibbles(unsigned low, unsigned high) {
  return static_cast<std::byte>(low | high << 4);
}

// A required value of the scheme that Doppler reads.
void Require(const JsonReader& object, std::string_view key, const nlohmann::json& wanted) {
  const std::optional<JsonReader> found = object.OptionalMember(key);
  if (found && found->value() == wanted) return;
  const std::string is = found ? found->value().dump() : "missing";
  object.Fail("'{}' is {}; weights quantised so are only supported with {}", key, is,
              wanted.dump());
}

void RequireAbsent(const JsonReader& object, std::string_view key) {
  const std::optional<JsonReader> found = object.OptionalMember(key);
  if (!found || found->value().is_null() || found->value() == false) return;
  found->Fail("this is {}, which is not supported", found->value().dump());
}

void CheckFp8(const JsonReader& config) {
  Require(config, "weight_block_size", {kGridBlock, kGridBlock});
  if (config.OptionalMember("fmt")) Require(config, "fmt", "e4m3");
}

void CheckInt4(const JsonReader& config) {
  Require(config, "format", "pack-quantized");
  RequireAbsent(config, "kv_cache_scheme");
  const JsonReader groups = config.Member("config_groups");
  groups.RequireObject();
  if (groups.value().empty()) groups.Fail("this is empty");
  for (const auto& item : groups.value().items()) {
    const JsonReader group = groups.Member(item.key());
    RequireAbsent(group, "input_activations");
    RequireAbsent(group, "output_activations");
    const JsonReader weights = group.Member("weights");
    Require(weights, "num_bits", 4);
    Require(weights, "type", "int");
    Require(weights, "symmetric", true);
    Require(weights, "strategy", "group");
    Require(weights, "group_size", 32);
    RequireAbsent(weights, "actorder");
  }
}

Bytes ScaleBytes(DType dtype) {
  return static_cast<Bytes>(Traits(dtype).block_bytes) - kNibbleBytes;
}

struct MatrixSize {
  std::size_t rows;
  std::size_t cols;
};
MatrixSize MatrixSizeOf(const SourceTensor& tensor) {
  DOPPLER_CHECK(tensor.spec.shape.size() == 2);
  return {static_cast<std::size_t>(tensor.spec.shape[0]),
          static_cast<std::size_t>(tensor.spec.shape[1])};
}

void Read(const Checkpoint& checkpoint, std::size_t file, Bytes offset, std::span<std::byte> out) {
  checkpoint.files[file].ReadAt(offset, out);
  checkpoint.files[file].DropCache(offset, out.size());
}

void StreamBlocks(const Checkpoint& checkpoint, const SourceTensor& tensor,
                  FunctionRef<void(std::span<const std::byte>)> use) {
  const auto [rows, cols] = MatrixSizeOf(tensor);
  const Bytes scale_bytes = ScaleBytes(tensor.dtype);
  const std::size_t blocks = rows * cols / 32;
  const std::size_t at_once = std::min<std::size_t>(blocks, kQuantizedPortion / kNibbleBytes);
  std::vector<std::byte> nibbles(at_once * kNibbleBytes);
  std::vector<std::byte> scales(at_once * scale_bytes);
  std::vector<std::byte> out(nibbles.size() + scales.size());
  for (std::size_t done = 0; done < blocks;) {
    ThrowIfInterrupted();
    const std::size_t count = std::min(at_once, blocks - done);
    const auto nibble_part = std::span(nibbles).first(count * kNibbleBytes);
    const auto scale_part = std::span(scales).first(count * scale_bytes);
    const auto out_part = std::span(out).first(count * (kNibbleBytes + scale_bytes));
    Read(checkpoint, tensor.file, tensor.offset + done * kNibbleBytes, nibble_part);
    Read(checkpoint, tensor.scales->file, tensor.scales->offset + done * scale_bytes, scale_part);
    JoinBlocks(nibble_part, scale_part, scale_bytes, out_part);
    use(out_part);
    done += count;
  }
}

std::vector<std::byte> ReadGrid(const Checkpoint& checkpoint, const SourceTensor& tensor) {
  const auto [rows, cols] = MatrixSizeOf(tensor);
  std::vector<std::byte> grid(GridExtent(rows) * GridExtent(cols) * sizeof(float));
  Read(checkpoint, tensor.scales->file, tensor.scales->offset, grid);
  return grid;
}

// Calls `use` with the first row's number and some whole rows of E4M3.
void StreamF8Rows(const Checkpoint& checkpoint, const SourceTensor& tensor,
                  FunctionRef<void(std::size_t, std::span<const std::byte>)> use) {
  const auto [rows, cols] = MatrixSizeOf(tensor);
  // Whole squares of the grid, so that each portion has rows of scales of its own.
  const std::size_t squares = std::max<std::size_t>(kQuantizedPortion / cols / kGridBlock, 1);
  const std::size_t at_once = std::min(rows, squares * kGridBlock);
  std::vector<std::byte> portion(at_once * cols);
  for (std::size_t done = 0; done < rows; done += at_once) {
    ThrowIfInterrupted();
    const auto part = std::span(portion).first(std::min(at_once, rows - done) * cols);
    Read(checkpoint, tensor.file, tensor.offset + done * cols, part);
    use(done, part);
  }
}

}  // namespace

DType PublishedFormat(HubQuantization quantization, const TensorSpec& spec) {
  const bool expert = spec.role == TensorRole::kExpert;
  const bool in_layer = spec.role == TensorRole::kProjection && spec.layer >= 0;
  if (quantization == HubQuantization::kMxfp4 && expert) return DType::kMxfp4;
  if (quantization == HubQuantization::kInt4 && expert) return DType::kInt4G32;
  if (quantization == HubQuantization::kFp8 && (expert || in_layer)) return DType::kF8E4M3;
  return DType::kBf16;
}

HubQuantization ParseHubQuantization(std::string_view config_json, const std::string& where) {
  const nlohmann::json document = ParseStrictJson(config_json, where);
  const JsonReader top(document, where);
  top.RequireObject();
  const std::optional<JsonReader> config = top.OptionalMember("quantization_config");
  if (!config || config->value().is_null()) return HubQuantization::kNone;
  config->RequireObject();
  const JsonReader method = config->Member("quant_method");
  if (method.String() == "mxfp4") return HubQuantization::kMxfp4;
  if (method.String() == "fp8") {
    CheckFp8(*config);
    return HubQuantization::kFp8;
  }
  if (method.String() == "compressed-tensors") {
    CheckInt4(*config);
    return HubQuantization::kInt4;
  }
  method.Fail(
      "weights quantised with '{}' are not supported; supported are fp8 in blocks of 128 x 128, "
      "mxfp4 and compressed-tensors with packed int4 in groups of 32",
      method.String());
}

void JoinBlocks(std::span<const std::byte> nibbles, std::span<const std::byte> scales,
                std::size_t scale_bytes, std::span<std::byte> blocks) {
  const std::size_t count = scales.size() / scale_bytes;
  DOPPLER_CHECK(nibbles.size() == count * kNibbleBytes &&
                blocks.size() == count * (kNibbleBytes + scale_bytes));
  for (std::size_t block = 0; block < count; ++block) {
    const auto from = nibbles.subspan(block * kNibbleBytes, kNibbleBytes);
    std::byte* out = blocks.data() + block * (kNibbleBytes + scale_bytes);
    std::memcpy(out, scales.data() + block * scale_bytes, scale_bytes);
    for (std::size_t i = 0; i < kNibbleBytes; ++i) {
      out[scale_bytes + i] = TwoNibbles(NibbleOf(from, i), NibbleOf(from, i + kNibbleBytes));
    }
  }
}

void SplitBlocks(std::span<const std::byte> blocks, std::size_t scale_bytes,
                 std::span<std::byte> nibbles, std::span<std::byte> scales) {
  const std::size_t count = scales.size() / scale_bytes;
  DOPPLER_CHECK(nibbles.size() == count * kNibbleBytes &&
                blocks.size() == count * (kNibbleBytes + scale_bytes));
  for (std::size_t block = 0; block < count; ++block) {
    const std::byte* from = blocks.data() + block * (kNibbleBytes + scale_bytes);
    std::memcpy(scales.data() + block * scale_bytes, from, scale_bytes);
    from += scale_bytes;
    const auto value = [from](std::size_t i) {
      return (std::to_integer<unsigned>(from[i % kNibbleBytes]) >> (i < kNibbleBytes ? 0 : 4)) &
             15u;
    };
    for (std::size_t i = 0; i < kNibbleBytes; ++i) {
      nibbles[block * kNibbleBytes + i] = TwoNibbles(value(2 * i), value(2 * i + 1));
    }
  }
}

void StreamWithScales(const Checkpoint& checkpoint, const SourceTensor& tensor,
                      FunctionRef<void(std::span<const std::byte>)> use) {
  if (!HasScaleGrid(tensor.dtype)) {
    StreamBlocks(checkpoint, tensor, use);
    return;
  }
  StreamF8Rows(checkpoint, tensor,
               [&](std::size_t, std::span<const std::byte> part) { use(part); });
  const auto [rows, cols] = MatrixSizeOf(tensor);
  const std::byte zeros[sizeof(float)] = {};
  use(std::span(zeros).first(GridOffset(rows * cols) - rows * cols));
  use(ReadGrid(checkpoint, tensor));
}

void StreamF8AsFloats(const Checkpoint& checkpoint, const SourceTensor& tensor,
                      FunctionRef<void(std::span<const std::byte>)> use) {
  const std::vector<std::byte> grid = ReadGrid(checkpoint, tensor);
  const std::size_t cols = MatrixSizeOf(tensor).cols;
  const std::size_t grid_row = GridExtent(cols) * sizeof(float);
  std::vector<std::byte> matrix;
  std::vector<float> floats;
  StreamF8Rows(checkpoint, tensor, [&](std::size_t first, std::span<const std::byte> part) {
    const std::size_t rows = part.size() / cols;
    // A small matrix of its own: the rows, then their part of the grid.
    const auto scales =
        std::span(grid).subspan(first / kGridBlock * grid_row, GridExtent(rows) * grid_row);
    matrix.assign(part.begin(), part.end());
    matrix.resize(GridOffset(part.size()));
    matrix.insert(matrix.end(), scales.begin(), scales.end());
    floats.resize(part.size());
    const WeightMatrix view = {.data = matrix.data(),
                               .dtype = DType::kF8E4M3,
                               .rows = static_cast<int>(rows),
                               .cols = static_cast<int>(cols)};
    for (std::size_t row = 0; row < rows; ++row) {
      DequantizeColumns(view, row, 0, std::span(floats).subspan(row * cols, cols));
    }
    use(std::as_bytes(std::span(floats)));
  });
}

}  // namespace doppler
