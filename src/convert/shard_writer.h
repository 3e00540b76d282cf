// Writes one shard from beginning to end and hashes it on the way.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "format/merkle.h"
#include "io/file.h"

namespace doppler {

class ShardWriter {
 public:
  // Creates the file. Throws Error, as all functions here do when writing fails.
  explicit ShardWriter(const std::filesystem::path& path);

  Bytes position() const { return position_; }
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
  void DropWritten();

  File file_;
  MerkleHasher hasher_;
  std::vector<Digest> leaves_;
  Bytes position_ = 0;
  Bytes dropped_ = 0;  // written before here is on the device and out of the page cache
};

}  // namespace doppler
