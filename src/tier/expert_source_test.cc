#include "tier/expert_source.h"

#include <numeric>

#include <gtest/gtest.h>

namespace doppler {
namespace {

constexpr Bytes kMost = ~Bytes{0} / 2;
Bytes NoOverhead(Bytes /*bytes*/) { return 0; }

ExpertSource Source(Bytes size) {
  ExpertSource source;
  source.extent.size = size;
  source.step = 100;
  const auto place = [](TensorEntry& tensor, Bytes offset, Bytes bytes) {
    tensor.offset = offset;
    tensor.size = bytes;
  };
  place(source.record.gate, 0, 120);
  place(source.record.up, 120, 100);
  place(source.record.down, 220, 130);
  return source;
}

TEST(ExpertSource, StepsCoverTheRecord) {
  const ExpertSource source = Source(350);
  ASSERT_EQ(source.Steps(), 4u);
  EXPECT_EQ(source.StepExtent(3).offset, 300u);
  EXPECT_EQ(source.StepExtent(3).size, 50u);
  const auto holds = [&](std::size_t step) {
    std::string parts;
    for (const ExpertPart part : kAllExpertParts) {
      parts += source.StepHolds(step, part) ? "gud"[static_cast<std::size_t>(part)] : '-';
    }
    return parts;
  };
  EXPECT_EQ(holds(0), "g--");
  EXPECT_EQ(holds(1), "gu-");
  EXPECT_EQ(holds(2), "-ud");
  EXPECT_EQ(holds(3), "--d");
}

TEST(SlotClasses, JoinSizesThatAreClose) {
  const ExpertTable table = {{Source(160000), Source(160000)}, {Source(96000)}, {Source(157000)}};
  const std::vector<SlotClass> classes = SlotClassesOf(table);
  const std::vector<SlotClass> expected = {{163840, 3}, {98304, 1}};
  EXPECT_EQ(classes, expected);
  EXPECT_EQ(ClassOf(classes, 163840), 0u);
  EXPECT_EQ(ClassOf(classes, 98305), 0u);
  EXPECT_EQ(ClassOf(classes, 98304), 1u);
}

TEST(DealSlots, KeepsThePartsEven) {
  const std::vector<SlotClass> classes = {{150, 40}, {100, 20}};
  const std::vector<std::size_t> dealt = DealSlots(classes, 4, 4000, kMost, NoOverhead);
  // 40 x 150 + 20 x 100 are half of what all would take.
  EXPECT_EQ(dealt, (std::vector<std::size_t>{20, 10}));
  EXPECT_EQ(DealSlots(classes, 4, kMost, kMost, NoOverhead), (std::vector<std::size_t>{40, 20}));
  EXPECT_EQ(DealSlots(classes, 4, kMost, 6, NoOverhead), (std::vector<std::size_t>{4, 2}));
}

TEST(DealSlots, TheLeastHoldsOneTokensExpertsOfAnyLayer) {
  const std::vector<SlotClass> classes = {{150, 40}, {100, 20}};
  EXPECT_EQ(DealSlots(classes, 4, 600, kMost, NoOverhead), (std::vector<std::size_t>{4, 0}));
  EXPECT_TRUE(DealSlots(classes, 4, 599, kMost, NoOverhead).empty());
  EXPECT_TRUE(DealSlots(classes, 4, 600, 3, NoOverhead).empty());
}

TEST(DealSlots, NeverSpendsMoreThanItHas) {
  const std::vector<SlotClass> classes = {{150, 7}, {100, 5}, {30, 90}};
  const auto overhead = [](Bytes bytes) { return bytes / 10; };
  for (Bytes budget = 165; budget < 6000; budget += 37) {
    const std::vector<std::size_t> dealt = DealSlots(classes, 1, budget, kMost, overhead);
    ASSERT_EQ(dealt.size(), 3u);
    EXPECT_LE(dealt[0] * 165 + dealt[1] * 110 + dealt[2] * 33, budget);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_LE(dealt[i], classes[i].records);
  }
}

}  // namespace
}  // namespace doppler
