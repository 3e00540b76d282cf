#include "base/thread_pool.h"

#include <numeric>

#include <gtest/gtest.h>

namespace doppler {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, CoversEveryIndexOnce) {
  ThreadPool pool(GetParam());
  for (const std::size_t count : {0u, 1u, 2u, 7u, 64u, 1000u}) {
    for (const std::size_t grain : {1u, 3u, 64u, 5000u}) {
      std::vector<int> hits(count, 0);
      pool.ParallelFor(count, grain, [&](std::size_t begin, std::size_t end) {
        EXPECT_LE(end - begin, grain);
        for (std::size_t i = begin; i < end; ++i) ++hits[i];
      });
      for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(hits[i], 1) << count << ' ' << grain;
    }
  }
}

TEST_P(ThreadPoolTest, ManyShortLoopsInARow) {
  ThreadPool pool(GetParam());
  std::atomic<long> sum{0};
  for (int loop = 0; loop < 5000; ++loop) {
    pool.ParallelFor(8, 1, [&](std::size_t begin, std::size_t) {
      sum.fetch_add(static_cast<long>(begin), std::memory_order_relaxed);
    });
  }
  EXPECT_EQ(sum.load(), 5000L * 28);
}

INSTANTIATE_TEST_SUITE_P(Sizes, ThreadPoolTest, testing::Values(1, 2, 4));

}  // namespace
}  // namespace doppler
