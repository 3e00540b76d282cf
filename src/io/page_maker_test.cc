#include "io/page_maker.h"

#include <chrono>
#include <cstring>

#include <gtest/gtest.h>

#include "io/mapped_memory.h"

namespace doppler {
namespace {

constexpr Bytes kRegion = 16 * kMiB;
constexpr std::size_t kRegions = 4;

class PageMakerTest : public testing::Test {
 protected:
  std::span<std::byte> Region(std::size_t region) {
    return memory_.span().subspan(region * kRegion,
                                  std::min(kRegion, memory_.size() - region * kRegion));
  }
  bool IsThere(std::size_t region) {
    return ResidentBytes(Region(region)) == Region(region).size();
  }
  bool IsAway(std::size_t region) { return ResidentBytes(Region(region)) == 0; }

  // Asks until the region is there, or gives up after ten seconds.
  bool Await(PageMaker& maker, std::size_t region) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!maker.Ready(region)) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  // The last region is shorter.
  MappedMemory memory_{kRegions * kRegion - 4 * kMiB};
};

TEST_F(PageMakerTest, MakesWhatIsAskedForAndTheNext) {
  PageMaker maker(memory_.span(), kRegion);
  EXPECT_FALSE(maker.Ready(1));
  ASSERT_TRUE(Await(maker, 1));
  EXPECT_TRUE(IsThere(1));
  ASSERT_TRUE(Await(maker, 2));
  EXPECT_TRUE(IsThere(2));
  EXPECT_TRUE(IsAway(0));
}

TEST_F(PageMakerTest, TheLastRegionIsShorter) {
  PageMaker maker(memory_.span(), kRegion);
  ASSERT_TRUE(Await(maker, kRegions - 1));
  EXPECT_TRUE(IsThere(kRegions - 1));
}

TEST_F(PageMakerTest, WhatIsThereKeepsItsBytes) {
  std::memset(Region(0).data(), 7, 100);
  PageMaker maker(memory_.span(), kRegion);
  ASSERT_TRUE(Await(maker, 0));
  EXPECT_EQ(memory_.data()[99], std::byte{7});
}

TEST_F(PageMakerTest, WhatWasForgottenComesBackOnlyWhenAskedForItself) {
  PageMaker maker(memory_.span(), kRegion);
  ASSERT_TRUE(Await(maker, 1));
  maker.Forget(1);
  maker.Forget(2);  // perhaps while it is made
  ASSERT_TRUE(DropPages(Region(1)));
  ASSERT_TRUE(DropPages(Region(2)));
  ASSERT_TRUE(Await(maker, 0));
  EXPECT_TRUE(IsAway(1));
  EXPECT_TRUE(IsAway(2));
  ASSERT_TRUE(Await(maker, 1));
  EXPECT_TRUE(IsThere(1));
  EXPECT_TRUE(IsAway(2));
}

TEST_F(PageMakerTest, EndsInTheMiddle) {
  for (int i = 0; i < 20; ++i) {
    PageMaker maker(memory_.span(), kRegion);
    maker.Ready(0);
  }
}

}  // namespace
}  // namespace doppler
