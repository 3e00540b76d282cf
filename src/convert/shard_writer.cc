#include "convert/shard_writer.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace doppler {
namespace {

// How much may wait in the page cache.
constexpr Bytes kFlushEvery = 64 * kMiB;
constexpr std::array<std::byte, 64 * kKiB> kZeros{};

}  // namespace

ShardWriter::ShardWriter(const std::filesystem::path& path) : file_(path, OpenMode::kCreate) {}

void ShardWriter::Write(std::span<const std::byte> bytes) {
  hasher_.Update(bytes, [this](const Digest& leaf) { leaves_.push_back(leaf); });
  file_.Write(bytes);
  position_ += bytes.size();
  if (position_ - dropped_ >= kFlushEvery) DropWritten();
}

void ShardWriter::PadTo(Bytes offset) {
  DOPPLER_CHECK(offset >= position_);
  while (position_ < offset) {
    Write(std::span(kZeros).first(std::min<Bytes>(kZeros.size(), offset - position_)));
  }
}

ShardWriter::Hashes ShardWriter::Finish() {
  const Digest root = hasher_.Finish([this](const Digest& leaf) { leaves_.push_back(leaf); });
  DropWritten();
  return {.root = root, .leaves = std::move(leaves_)};
}

void ShardWriter::DropWritten() {
  file_.Sync();
  file_.DropCache(dropped_, position_ - dropped_);
  dropped_ = position_;
}

}  // namespace doppler
