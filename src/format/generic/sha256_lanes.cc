// Where no library hashes several messages at once: one after the other.
#include "format/sha256_lanes.h"

#include "base/error.h"

namespace doppler {

void Sha256SideBySide(std::span<const std::span<const std::byte>> messages, std::span<Digest> out) {
  DOPPLER_CHECK(messages.size() == out.size() && messages.size() <= kSha256Batch);
  for (std::size_t i = 0; i < messages.size(); ++i) out[i] = Sha256(messages[i]);
}

}  // namespace doppler
