// MXFP4 as the hub keeps it, and as ggml does.
#pragma once

#include <cstddef>
#include <span>

#include "backend/dtype.h"

namespace doppler {

// Of 32 values: on the hub, and in ggml's blocks.
inline constexpr std::size_t kMxfp4NibbleBytes = 16;
inline constexpr std::size_t kMxfp4BlockBytes = 17;

// Makes ggml's blocks, each an exponent and 16 bytes of which byte i holds value i low and value
// i + 16 high, of the hub's nibbles, whose byte i holds value 2 i low and value 2 i + 1 high, and
// its exponents. No value changes.
// REQUIRES: nibbles holds 16 bytes, and `blocks` 17, for each of `exponents`.
void PackMxfp4(std::span<const std::byte> nibbles, std::span<const std::byte> exponents,
               std::span<std::byte> blocks);

}  // namespace doppler
