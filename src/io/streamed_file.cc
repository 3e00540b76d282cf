#include "io/streamed_file.h"

namespace doppler {
namespace {

// How much may wait in the page cache.
constexpr Bytes kFlushEvery = 64 * kMiB;

}  // namespace

void StreamedFile::Write(std::span<const std::byte> bytes) {
  file_.Write(bytes);
  position_ += bytes.size();
  if (position_ - dropped_ >= kFlushEvery) Finish();
}

void StreamedFile::Finish() {
  file_.Sync();
  file_.DropCache(dropped_, position_ - dropped_);
  dropped_ = position_;
}

}  // namespace doppler
