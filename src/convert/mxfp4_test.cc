#include "convert/mxfp4.h"

#include <array>

#include <gtest/gtest.h>

namespace doppler {
namespace {

TEST(PackMxfp4, MovesNibblesAndKeepsValues) {
  // The value of place i of block b is (i + b) % 16.
  std::array<std::byte, 32> nibbles{};
  for (std::size_t i = 0; i < 64; ++i) {
    const auto value = static_cast<std::byte>((i % 32 + i / 32) % 16);
    nibbles[i / 2] |= i % 2 == 0 ? value : value << 4;
  }
  const std::array exponents = {std::byte{127}, std::byte{3}};
  std::array<std::byte, 34> blocks{};
  PackMxfp4(nibbles, exponents, blocks);
  for (std::size_t b = 0; b < 2; ++b) {
    EXPECT_EQ(blocks[17 * b], exponents[b]);
    for (std::size_t i = 0; i < 32; ++i) {
      const std::byte both = blocks[17 * b + 1 + i % 16];
      const std::byte value = i < 16 ? both & std::byte{15} : both >> 4;
      EXPECT_EQ(std::to_integer<std::size_t>(value), (i + b) % 16) << b << " " << i;
    }
  }
}

}  // namespace
}  // namespace doppler
