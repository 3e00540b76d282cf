#include "swarm/peer_pulse.h"

#include <gtest/gtest.h>

namespace doppler {

using std::chrono::milliseconds;

namespace {

Clock::time_point At(int ms) { return Clock::time_point() + milliseconds(ms); }

}  // namespace

TEST(PeerPulseTest, SilenceCountsFromTheLastSignWhileSomethingIsOwed) {
  PeerPulse pulse;
  EXPECT_EQ(pulse.Silence(At(100)), milliseconds(0));
  pulse.Asked(At(100));
  pulse.Asked(At(150));
  EXPECT_EQ(pulse.Silence(At(300)), milliseconds(200));
  pulse.Came(At(310));
  EXPECT_EQ(pulse.Silence(At(400)), milliseconds(90));
  pulse.Heard(At(390));
  EXPECT_EQ(pulse.Silence(At(400)), milliseconds(10));
  pulse.Came(At(420));
  EXPECT_EQ(pulse.Silence(At(9000)), milliseconds(0));
  // An idle peer was not silent before it was asked.
  pulse.Asked(At(10000));
  EXPECT_EQ(pulse.Silence(At(10001)), milliseconds(1));
}

TEST(PeerPulseTest, WhatIsRefusedIsNotOwed) {
  PeerPulse pulse;
  pulse.NoLonger();
  pulse.Asked(At(0));
  pulse.Asked(At(0));
  pulse.NoLonger();
  EXPECT_EQ(pulse.Silence(At(70)), milliseconds(70));
  pulse.NoLonger();
  EXPECT_EQ(pulse.Silence(At(70)), milliseconds(0));
  pulse.Asked(At(100));
  pulse.OwesNothing();
  EXPECT_EQ(pulse.Silence(At(700)), milliseconds(0));
}

TEST(PeerPulseTest, PatienceFollowsHowLongAnAnswerTakes) {
  const auto after = [](int answer, int times) {
    PeerPulse pulse;
    for (int i = 0; i < times; ++i) {
      pulse.Asked(At(100000 * i));
      pulse.Came(At(100000 * i + answer));
    }
    return pulse.Patience();
  };
  EXPECT_EQ(after(0, 0), milliseconds(1000));
  EXPECT_EQ(after(1, 50), PeerPulse::kLeastPatience);
  EXPECT_EQ(after(400, 1), milliseconds(1600));
  EXPECT_EQ(after(30000, 1), PeerPulse::kMostPatience);
  // Only the first block after a pause says how long an answer takes: the others queue.
  PeerPulse busy;
  busy.Asked(At(0));
  busy.Asked(At(0));
  busy.Came(At(200));
  busy.Came(At(4000));
  EXPECT_LE(busy.Patience(), milliseconds(1000));
}

}  // namespace doppler
