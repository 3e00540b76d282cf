// A new file that is written from beginning to end and does not fill the page cache on the way.
#pragma once

#include <filesystem>
#include <span>

#include "base/bytes.h"
#include "io/file.h"

namespace doppler {

class StreamedFile {
 public:
  // Creates the file. Throws Error, as all functions here do when writing fails.
  explicit StreamedFile(const std::filesystem::path& path) : file_(path, OpenMode::kCreate) {}

  Bytes position() const { return position_; }
  void Write(std::span<const std::byte> bytes);
  // Flushes what was written to the device.
  void Finish();

 private:
  File file_;
  Bytes position_ = 0;
  Bytes dropped_ = 0;  // written before here is on the device and out of the page cache
};

}  // namespace doppler
