#include "tier/usage.h"

#include <cmath>

#include <gtest/gtest.h>

namespace doppler {
namespace {

Digest SomeModel() { return Sha256({}); }

const std::vector<double> kUsage = {-1.5, 3, kNeverUsed, 0};

TEST(Usage, ComesBack) {
  const std::vector<std::byte> bytes = SerializeUsage(SomeModel(), kUsage);
  const auto usage = ParseUsage(bytes, SomeModel(), kUsage.size());
  ASSERT_TRUE(usage);
  EXPECT_EQ((*usage)[0], -1.5);
  EXPECT_EQ((*usage)[1], 3);
  EXPECT_LT((*usage)[2], -1e30);
}

TEST(Usage, IsRefusedWhenDamagedOrForeign) {
  const std::vector<std::byte> bytes = SerializeUsage(SomeModel(), kUsage);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::vector<std::byte> damaged = bytes;
    damaged[i] ^= std::byte{4};
    EXPECT_FALSE(ParseUsage(damaged, SomeModel(), kUsage.size())) << i;
  }
  EXPECT_FALSE(ParseUsage(std::span(bytes).first(60), SomeModel(), kUsage.size()));
  EXPECT_FALSE(ParseUsage(bytes, Digest{}, kUsage.size()));
  EXPECT_FALSE(ParseUsage(bytes, SomeModel(), kUsage.size() + 1));
  EXPECT_FALSE(ParseUsage(SerializeUsage(SomeModel(), std::vector<double>{NAN}), SomeModel(), 1));
  EXPECT_FALSE(ParseUsage(SerializeUsage(SomeModel(), std::vector<double>{99}), SomeModel(), 1));
}

}  // namespace
}  // namespace doppler
