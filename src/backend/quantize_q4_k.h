// The search behind Quantize(kQ4_K, ...).
#pragma once

#include <cstdint>
#include <span>

namespace doppler {

// Writes the 144 bytes of the q4_k block of 256 `values`.
void QuantizeQ4K(std::span<const float, 256> values, std::uint8_t* block);

}  // namespace doppler
