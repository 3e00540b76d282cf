#include "tier/kept_slots.h"

#include <array>

#include <gtest/gtest.h>

namespace doppler {
namespace {

constexpr std::size_t kSmall = 1;  // the second class

TEST(KeptSlots, EachClassHasItsPartOfTheReserveAndAtMostASixteenth) {
  const std::array<std::size_t, 3> slots = {96, 32, 15};
  const KeptSlots some(slots, 4);
  EXPECT_EQ(some.most(0), 96u - 3);
  EXPECT_EQ(some.most(kSmall), 32u - 1);
  EXPECT_EQ(some.most(2), 15u);
  const KeptSlots many(slots, 1000);
  EXPECT_EQ(many.most(0), 96u - 6);
  EXPECT_EQ(many.most(kSmall), 32u - 2);
  EXPECT_EQ(many.most(2), 15u);
}

TEST(KeptSlots, SetsTheLowestUnpinnedAsideWhenThereAreTooMany) {
  const std::array<std::size_t, 2> slots = {16, 16};
  KeptSlots kept(slots, 2);
  for (std::size_t slot = 16; slot < 32; ++slot) kept.Add(kSmall);
  EXPECT_EQ(kept.TakeOneTooMany(kSmall), std::nullopt);  // all are pinned
  kept.Unpin(20, kSmall, 5);
  kept.Unpin(25, kSmall, 3);
  kept.Unpin(30, kSmall, 4);
  EXPECT_EQ(kept.TakeOneTooMany(kSmall), 25u);
  EXPECT_EQ(kept.kept(kSmall), 15u);
  EXPECT_EQ(kept.TakeOneTooMany(kSmall), std::nullopt);  // fifteen may stay
  EXPECT_EQ(kept.TakeOneTooMany(0), std::nullopt);
}

TEST(KeptSlots, WhatIsPinnedOrGoneIsNotSetAside) {
  const std::array<std::size_t, 2> slots = {0, 16};
  KeptSlots kept(slots, 1);
  for (std::size_t slot = 0; slot < 16; ++slot) kept.Add(kSmall);
  for (const std::size_t slot : {1u, 2u, 3u}) kept.Unpin(slot, kSmall, static_cast<double>(slot));
  kept.Pin(1, kSmall);
  kept.Remove(2, kSmall);
  EXPECT_EQ(kept.TakeOneTooMany(kSmall), std::nullopt);
  kept.Add(kSmall);
  EXPECT_EQ(kept.TakeOneTooMany(kSmall), 3u);
}

TEST(KeptSlots, WithoutAReserveAllSlotsAreKept) {
  const std::array<std::size_t, 1> slots = {16};
  KeptSlots kept(slots, 0);
  for (std::size_t slot = 0; slot < 16; ++slot) {
    kept.Add(0);
    kept.Unpin(slot, 0, 1);
  }
  EXPECT_EQ(kept.TakeOneTooMany(0), std::nullopt);
}

}  // namespace
}  // namespace doppler
