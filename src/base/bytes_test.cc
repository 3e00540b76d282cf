#include "base/bytes.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace doppler {
namespace {

TEST(ParseSize, ReadsBinaryUnits) {
  EXPECT_EQ(ParseSize("0"), 0u);
  EXPECT_EQ(ParseSize("512"), 512u);
  EXPECT_EQ(ParseSize("64K"), 64 * kKiB);
  EXPECT_EQ(ParseSize("64k"), 64 * kKiB);
  EXPECT_EQ(ParseSize("3MiB"), 3 * kMiB);
  EXPECT_EQ(ParseSize("2GB"), 2 * kGiB);
  EXPECT_EQ(ParseSize("1.5G"), kGiB + kGiB / 2);
}

TEST(ParseSize, RefusesWhatIsNotASize) {
  for (const char* text : {"", "G", "-1", "12X", "1KK", "nan", "inf", "1e30", "5 M", "1BiB"}) {
    EXPECT_THROW(ParseSize(text), Error) << text;
  }
}

TEST(FormatSize, KeepsThreeDigits) {
  EXPECT_EQ(FormatSize(0), "0 B");
  EXPECT_EQ(FormatSize(1023), "1023 B");
  EXPECT_EQ(FormatSize(kKiB + kKiB / 2), "1.50 KiB");
  EXPECT_EQ(FormatSize(40 * kMiB), "40.0 MiB");
  EXPECT_EQ(FormatSize(512 * kGiB), "512 GiB");
}

TEST(Checked, FindsOverflow) {
  constexpr std::uint64_t kMax = ~std::uint64_t{0};
  EXPECT_EQ(CheckedAdd(kMax - 1, 1), kMax);
  EXPECT_FALSE(CheckedAdd(kMax, 1));
  EXPECT_EQ(CheckedMul(kMax, 1), kMax);
  EXPECT_EQ(CheckedMul(kMax, 0), 0u);
  EXPECT_FALSE(CheckedMul(std::uint64_t{1} << 32, std::uint64_t{1} << 32));
}

TEST(Align, RoundsToPowersOfTwo) {
  EXPECT_EQ(AlignUp(0, 4096), 0u);
  EXPECT_EQ(AlignUp(1, 4096), 4096u);
  EXPECT_EQ(AlignUp(4096, 4096), 4096u);
  EXPECT_EQ(AlignDown(8191, 4096), 4096u);
}

}  // namespace
}  // namespace doppler
