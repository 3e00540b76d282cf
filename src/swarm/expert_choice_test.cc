#include "swarm/expert_choice.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace doppler {

TEST(ExpertChoiceTest, TakesThePartRoundedUp) {
  const std::vector<std::size_t> none(10);
  const auto count = [&none](double part) {
    const std::vector<bool> chosen = ChooseExperts(none, part, 1);
    return std::count(chosen.begin(), chosen.end(), true);
  };
  EXPECT_EQ(count(0), 0);
  EXPECT_EQ(count(0.01), 1);
  EXPECT_EQ(count(0.3), 3);
  EXPECT_EQ(count(1), 10);
  EXPECT_TRUE(ChooseExperts({}, 0.5, 1).empty());
}

TEST(ExpertChoiceTest, TakesThoseThatAreThereFirst) {
  std::vector<std::size_t> there(100);
  for (const std::size_t i : {3u, 50u, 99u}) there[i] = i;
  const std::vector<bool> chosen = ChooseExperts(there, 0.05, 7);
  EXPECT_TRUE(chosen[3] && chosen[50] && chosen[99]);
  EXPECT_EQ(std::count(chosen.begin(), chosen.end(), true), 5);
}

TEST(ExpertChoiceTest, OtherMachinesTakeOthers) {
  const std::vector<std::size_t> none(1000);
  EXPECT_NE(ChooseExperts(none, 0.1, 1), ChooseExperts(none, 0.1, 2));
}

}  // namespace doppler
