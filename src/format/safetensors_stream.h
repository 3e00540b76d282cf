// Writes one float tensor that is too large to be held: a safetensors file, portion by portion.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "io/file.h"

namespace doppler {

// The file appears under its name when Finish returns, or not at all. Throws Error if the path
// exists or cannot be written.
class F32SafetensorsWriter {
 public:
  F32SafetensorsWriter(const std::filesystem::path& path, const std::string& name,
                       const std::vector<std::int64_t>& shape);
  ~F32SafetensorsWriter();
  F32SafetensorsWriter(const F32SafetensorsWriter&) = delete;
  F32SafetensorsWriter& operator=(const F32SafetensorsWriter&) = delete;

  void Append(std::span<const float> values);
  // REQUIRES: as many values were appended as the shape holds.
  void Finish();

 private:
  std::filesystem::path path_;
  std::filesystem::path partial_;
  File file_;
  std::uint64_t missing_;  // values
};

}  // namespace doppler
