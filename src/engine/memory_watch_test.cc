#include "engine/memory_watch.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "io/machine_fake_tree.h"

namespace doppler {
namespace {

TEST(SystemPressure, IsNothingWhereTheKernelDoesNotCount) {
  const FakeTree tree;
  EXPECT_FALSE(SystemPressure(tree.root()));
}

TEST(SystemPressure, SamplesWhatTheKernelCountsAndWhatIsAvailable) {
  const FakeTree tree;
  tree.Add("/proc/meminfo", "MemTotal: 4096 kB\nMemAvailable: 1024 kB\n");
  tree.Add("/proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=17\n");
  const auto source = SystemPressure(tree.root());
  ASSERT_TRUE(source);
  EXPECT_EQ(source->name, tree.At("/proc/pressure/memory").string());
  const PressureSample first = source->sample();
  EXPECT_EQ(first.stalled_us, 17u);
  EXPECT_EQ(first.available, kMiB);
  tree.Add("/proc/meminfo", "MemTotal: 4096 kB\nMemAvailable: 512 kB\n");
  tree.Add("/proc/pressure/memory", "some avg10=9.00 avg60=1.00 avg300=0.00 total=900\n");
  const PressureSample second = source->sample();
  EXPECT_EQ(second.stalled_us, 900u);
  EXPECT_EQ(second.available, 512 * kKiB);
  EXPECT_GE(second.seconds, first.seconds);
  tree.Add("/proc/pressure/memory", "nonsense\n");
  EXPECT_THROW(source->sample(), Error);
}

}  // namespace
}  // namespace doppler
