// SHA-256, the hash of everything in an artifact: FIPS 180-4.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/function_ref.h"

namespace doppler {

using Digest = std::array<std::uint8_t, 32>;

std::string ToHex(const Digest& digest);
std::optional<Digest> DigestFromHex(std::string_view hex);

// SHA-256 of any bytes. Does not allocate.
Digest Sha256(std::span<const std::byte> bytes);

// SHA-256 of each part of `part_bytes` (the last may be shorter), told in order. A processor's SHA
// instructions wait for one another within one message, so several parts are hashed side by side,
// where the build has a library for that, in half the time. Any thread; does not allocate after a
// thread's first call.
void Sha256OfParts(std::span<const std::byte> bytes, Bytes part_bytes,
                   FunctionRef<void(const Digest&)> on_part);

}  // namespace doppler
