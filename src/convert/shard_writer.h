// Writes one shard from beginning to end and hashes it on the way.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "format/merkle.h"
#include "io/streamed_file.h"

namespace doppler {

class ShardWriter {
 public:
  // Creates the file. Throws Error, as all functions here do when writing fails.
  explicit ShardWriter(const std::filesystem::path& path);

  Bytes position() const { return file_.position(); }
  void Write(std::span<const std::byte> bytes);
  // Writes zeros up to `offset`. REQUIRES: offset >= position().
  void PadTo(Bytes offset);

  struct Hashes {
    Digest root{};
    std::vector<Digest> leaves;
  };
  // Flushes to the device and returns what was hashed. REQUIRES: something was written.
  Hashes Finish();

 private:
  StreamedFile file_;
  MerkleHasher hasher_;
  std::vector<Digest> leaves_;
};

}  // namespace doppler
