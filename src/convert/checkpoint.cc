#include "convert/checkpoint.h"

#include <fmt/ranges.h>

#include "base/error.h"

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

void ThrowShape(const std::string& where, const std::string& name,
                const std::vector<std::int64_t>& found, const std::vector<std::int64_t>& expected) {
  Throw(
      "{}: the tensor '{}' is [{}], but the configuration asks for [{}]; they do not belong "
      "together",
      where, name, fmt::join(found, ", "), fmt::join(expected, ", "));
}

}  // namespace doppler
