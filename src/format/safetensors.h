// Safetensors files, as the hub keeps checkpoints: a JSON header that says where each tensor's
// bytes stand, and the bytes. The header is checked in full when a file is opened, so that every
// tensor listed lies inside the file.
//
// Format: https://huggingface.co/docs/safetensors (8 bytes of header length, header, data).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "io/file.h"

namespace doppler {

struct SafetensorsTensor {
  std::string dtype;  // the file's own name: "BF16"; it may be one that we cannot compute with
  std::vector<std::int64_t> shape;  // outermost first; empty for a single number
  Bytes offset = 0;                 // in the file
  Bytes size = 0;
};

using SafetensorsTensors = std::map<std::string, SafetensorsTensor>;

// Reads the header of a file of `file_size` bytes, which follows its 8 bytes of length. Throws
// Error, which names `where`, unless the tensors cover the data without overlap or hole.
SafetensorsTensors ParseSafetensorsHeader(std::string_view header, Bytes file_size,
                                          const std::string& where);
// The same from all bytes of a file.
SafetensorsTensors ParseSafetensors(std::span<const std::byte> file, const std::string& where);

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const SafetensorsTensors& tensors() const { return tensors_; }
  const SafetensorsTensor& Tensor(const std::string& name) const;  // throws Error that names it
  const File& file() const { return file_; }
  File TakeFile() && { return std::move(file_); }

  // A whole tensor's bytes. Throws Error unless its dtype is `dtype` ("F32", "I32").
  std::vector<std::byte> Read(const std::string& name, std::string_view dtype) const;

 private:
  File file_;
  SafetensorsTensors tensors_;
};

// A tensor to be written. `values` holds whole little-endian numbers of the dtype.
struct SafetensorsOutput {
  std::string name;
  std::string dtype;  // "F32" or "I32"
  std::vector<std::int64_t> shape;
  std::span<const std::byte> values;
};

// Writes a new file. Throws Error if the path exists or cannot be written; then there is no file.
// REQUIRES: names are distinct, and each tensor's values fit its shape.
void WriteSafetensors(const std::filesystem::path& path,
                      std::span<const SafetensorsOutput> tensors);

}  // namespace doppler
