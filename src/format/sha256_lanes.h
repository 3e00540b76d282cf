// Several independent messages through SHA-256 at once.
#pragma once

#include <cstddef>
#include <span>

#include "format/sha256.h"

namespace doppler {

// How many messages it pays to pass in one call.
inline constexpr std::size_t kSha256Batch = 32;

// out[i] = SHA-256 of messages[i]. Any thread; does not allocate after a thread's first call.
// REQUIRES: messages.size() == out.size() <= kSha256Batch.
void Sha256SideBySide(std::span<const std::span<const std::byte>> messages, std::span<Digest> out);

}  // namespace doppler
