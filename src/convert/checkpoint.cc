#include "convert/checkpoint.h"

#include <charconv>

#include <fmt/ranges.h>

#include "base/error.h"
#include "model/families.h"

namespace doppler {

namespace fs = std::filesystem;

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
