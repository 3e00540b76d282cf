#include "base/time_counts.h"

#include <gtest/gtest.h>

namespace doppler {
namespace {

TEST(TimeCounts, HasNoQuantileOfNothing) {
  EXPECT_EQ(TimeCounts().Quantile(0.5), std::nullopt);
  EXPECT_EQ(TimeCounts().total(), 0u);
}

TEST(TimeCounts, QuantilesAreAtMostTenPercentTooLong) {
  TimeCounts counts;
  for (int i = 1; i <= 1000; ++i) counts.Add(1e-3 * i);
  EXPECT_EQ(counts.total(), 1000u);
  for (const double part : {0.001, 0.01, 0.5, 0.99, 1.0}) {
    EXPECT_GE(*counts.Quantile(part), part * 0.999);
    EXPECT_LE(*counts.Quantile(part), part * 1.1);
  }
}

TEST(TimeCounts, ExtremesStayInTheTable) {
  TimeCounts counts;
  counts.Add(0);
  counts.Add(1e9);
  EXPECT_NEAR(*counts.Quantile(0.1), 1e-6, 1e-9);
  EXPECT_GT(*counts.Quantile(1), 60);
}

TEST(TimeCounts, DifferencesCountWhatCameBetween) {
  TimeCounts counts;
  for (int i = 0; i < 100; ++i) counts.Add(1);
  const TimeCounts before = counts;
  counts.Add(0.001);
  const TimeCounts between = counts - before;
  EXPECT_EQ(between.total(), 1u);
  EXPECT_LT(*between.Quantile(1), 0.0012);
}

}  // namespace
}  // namespace doppler
