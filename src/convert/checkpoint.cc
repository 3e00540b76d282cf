#include "convert/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <fmt/ranges.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "convert/hub_quantization.h"
#include "model/families.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kPortion = 4 * kMiB;

// Puts the rows of one head into order: first the even ones, which are the first half.
void Deinterleave(std::span<const std::byte> head, std::size_t row_bytes,
                  std::span<std::byte> out) {
  const std::size_t rows = head.size() / row_bytes;
  const std::size_t half = rows / 2;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t source = row < half ? 2 * row : 2 * (row - half) + 1;
    std::memcpy(out.data() + row * row_bytes, head.data() + source * row_bytes, row_bytes);
  }
}

void StreamInOrder(const File& file, const SourceTensor& tensor,
                   FunctionRef<void(std::span<const std::byte>)> use) {
  // 256 blocks of one format are whole blocks of every other.
  const auto block = static_cast<Bytes>(Traits(tensor.dtype).block_bytes);
  const Bytes portion_size = kPortion / (256 * block) * (256 * block);
  std::vector<std::byte> buffer(std::min(portion_size, tensor.size));
  for (Bytes done = 0; done < tensor.size;) {
    ThrowIfInterrupted();
    const auto portion = std::span(buffer).first(std::min(portion_size, tensor.size - done));
    file.ReadAt(tensor.offset + done, portion);
    file.DropCache(tensor.offset + done, portion.size());
    use(portion);
    done += portion.size();
  }
}

void StreamInterleaved(const File& file, const SourceTensor& tensor,
                       FunctionRef<void(std::span<const std::byte>)> use) {
  const auto rows = static_cast<std::size_t>(tensor.spec.shape.front());
  const std::size_t row_bytes = tensor.size / rows;
  const std::size_t head_bytes = row_bytes * static_cast<std::size_t>(tensor.interleaved_head_dim);
  std::vector<std::byte> head(head_bytes);
  std::vector<std::byte> ordered(head_bytes);
  for (Bytes done = 0; done < tensor.size; done += head_bytes) {
    ThrowIfInterrupted();
    file.ReadAt(tensor.offset + done, head);
    file.DropCache(tensor.offset + done, head_bytes);
    Deinterleave(head, row_bytes, ordered);
    use(ordered);
  }
}

}  // namespace

Checkpoint OpenCheckpoint(const fs::path& path, bool allow_missing_tokenizer) {
  std::error_code error;  // a folder that may not be searched counts as missing here
  if (fs::is_directory(path, error)) return OpenHubCheckpoint(path, allow_missing_tokenizer);
  if (!fs::exists(path, error)) {
    Throw(
        "'{}' does not exist; give a folder with config.json and safetensors files, or a GGUF file",
        path.string());
  }
  return OpenGgufCheckpoint(path, allow_missing_tokenizer);
}

void StreamTensor(const Checkpoint& checkpoint, const SourceTensor& tensor,
                  FunctionRef<void(std::span<const std::byte>)> use) {
  const File& file = checkpoint.files[tensor.file];
  if (tensor.scales) {
    StreamWithScales(checkpoint, tensor, use);
  } else if (tensor.interleaved_head_dim == 0) {
    StreamInOrder(file, tensor, use);
  } else {
    StreamInterleaved(file, tensor, use);
  }
}

std::string_view PartOf(std::string_view tensor_name) {
  const std::string_view head = tensor_name.substr(0, tensor_name.rfind('.'));
  return head.substr(head.rfind('.') + 1);
}

bool IsOfPredictionLayer(std::string_view name, std::string_view prefix,
                         const ModelConfig& config) {
  if (!FamilyByName(config.family).traits.prediction_layers || !name.starts_with(prefix)) {
    return false;
  }
  name.remove_prefix(prefix.size());
  int layer = 0;
  const auto [end, status] = std::from_chars(name.data(), name.data() + name.size(), layer);
  const bool is_number = status == std::errc() && end != name.data() + name.size() && *end == '.';
  return is_number && layer >= config.num_layers;
}

void ThrowShape(const std::string& where, const std::string& name,
                const std::vector<std::int64_t>& found, const std::vector<std::int64_t>& expected) {
  Throw(
      "{}: the tensor '{}' is [{}], but the configuration asks for [{}]; they do not belong "
      "together",
      where, name, fmt::join(found, ", "), fmt::join(expected, ", "));
}

}  // namespace doppler
