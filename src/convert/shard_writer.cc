#include "convert/shard_writer.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace doppler {
namespace {

constexpr std::array<std::byte, 64 * kKiB> kZeros{};

}  // namespace

ShardWriter::ShardWriter(const std::filesystem::path& path) : file_(path) {}

void ShardWriter::Write(std::span<const std::byte> bytes) {
  hasher_.Update(bytes, [this](const Digest& leaf) { leaves_.push_back(leaf); });
  file_.Write(bytes);
}

void ShardWriter::PadTo(Bytes offset) {
  DOPPLER_CHECK(offset >= position());
  while (position() < offset) {
    Write(std::span(kZeros).first(std::min<Bytes>(kZeros.size(), offset - position())));
  }
}

ShardWriter::Hashes ShardWriter::Finish() {
  const Digest root = hasher_.Finish([this](const Digest& leaf) { leaves_.push_back(leaf); });
  file_.Finish();
  return {.root = root, .leaves = std::move(leaves_)};
}

}  // namespace doppler
