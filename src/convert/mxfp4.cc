#include "convert/mxfp4.h"

#include "base/error.h"

namespace doppler {

void PackMxfp4(std::span<const std::byte> nibbles, std::span<const std::byte> exponents,
               std::span<std::byte> blocks) {
  DOPPLER_CHECK(nibbles.size() == exponents.size() * kMxfp4NibbleBytes &&
                blocks.size() == exponents.size() * kMxfp4BlockBytes);
  constexpr std::size_t kHalf = kMxfp4NibbleBytes;
  for (std::size_t b = 0; b < exponents.size(); ++b) {
    const auto pairs = nibbles.subspan(b * kMxfp4NibbleBytes, kMxfp4NibbleBytes);
    const auto block = blocks.subspan(b * kMxfp4BlockBytes, kMxfp4BlockBytes);
    const auto value = [pairs](std::size_t i) {
      return (pairs[i / 2] >> (i % 2 == 0 ? 0 : 4)) & std::byte{0x0f};
    };
    block[0] = exponents[b];
    for (std::size_t i = 0; i < kHalf; ++i) block[1 + i] = value(i) | (value(i + kHalf) << 4);
  }
}

}  // namespace doppler
