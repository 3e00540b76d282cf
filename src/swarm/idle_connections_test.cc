#include "swarm/idle_connections.h"

#include <gtest/gtest.h>

namespace doppler {
namespace {

const Clock::time_point kBegin(std::chrono::hours(1));
constexpr std::chrono::seconds kIdle(5);

Clock::time_point Second(int seconds) { return kBegin + std::chrono::seconds(seconds); }

}  // namespace

TEST(IdleConnectionsTest, AreMadeAnewOnceAfterEachUse) {
  IdleConnections idle(kIdle);
  for (int second = 0; second < 20; ++second) EXPECT_FALSE(idle.Look(Second(second), 0, 0, false));
  EXPECT_FALSE(idle.Look(Second(20), 100, 0, false));
  EXPECT_FALSE(idle.Look(Second(24), 100, 0, false));
  EXPECT_TRUE(idle.Look(Second(25), 100, 0, false));
  for (int second = 26; second < 60; ++second) {
    EXPECT_FALSE(idle.Look(Second(second), 100, 0, false)) << second;
  }
  EXPECT_FALSE(idle.Look(Second(60), 200, 0, false));
  EXPECT_TRUE(idle.Look(Second(66), 200, 0, false));
}

TEST(IdleConnectionsTest, NotWhileAnythingIsWantedOrSent) {
  IdleConnections idle(kIdle);
  EXPECT_FALSE(idle.Look(Second(0), 100, 0, false));
  EXPECT_FALSE(idle.Look(Second(10), 100, 0, true));
  EXPECT_FALSE(idle.Look(Second(14), 100, 0, false));
  EXPECT_FALSE(idle.Look(Second(16), 100, 7, false));
  EXPECT_FALSE(idle.Look(Second(20), 100, 7, false));
  EXPECT_TRUE(idle.Look(Second(21), 100, 7, false));
}

}  // namespace doppler
