#include "base/float8.h"

#include <bit>
#include <cmath>

#include <gtest/gtest.h>

namespace doppler {
namespace {

TEST(E4M3, FollowsTheSpecification) {
  EXPECT_EQ(E4M3ToFloat(0x00), 0);
  EXPECT_TRUE(std::signbit(E4M3ToFloat(0x80)));
  EXPECT_EQ(E4M3ToFloat(0x01), std::ldexp(1.0f, -9));
  EXPECT_EQ(E4M3ToFloat(0x87), std::ldexp(-7.0f, -9));
  EXPECT_EQ(E4M3ToFloat(0x08), std::ldexp(1.0f, -6));
  EXPECT_EQ(E4M3ToFloat(0x38), 1);
  EXPECT_EQ(E4M3ToFloat(0xbc), -1.5f);
  EXPECT_EQ(E4M3ToFloat(0x7e), 448);
  EXPECT_EQ(E4M3ToFloat(0xfe), -448);
  EXPECT_TRUE(std::isnan(E4M3ToFloat(0x7f)));
  EXPECT_TRUE(std::isnan(E4M3ToFloat(0xff)));
}

TEST(E8M0, IsHalfAPowerOfTwo) {
  for (unsigned bits = 0; bits < 256; ++bits) {
    EXPECT_EQ(HalfE8M0ToFloat(static_cast<std::uint8_t>(bits)),
              std::ldexp(1.0f, static_cast<int>(bits) - 128))
        << bits;
  }
}

}  // namespace
}  // namespace doppler
