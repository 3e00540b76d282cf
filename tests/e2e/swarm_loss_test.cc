// A run from peers over a link that loses packets: real ones, in the kernel. Skipped where there
// are no network namespaces.
#include <optional>

#include <gtest/gtest.h>

#include "e2e/swarm_runner.h"
#include "support/lossy_device.h"
#include "support/own_network.h"

namespace doppler {

TEST(SwarmLossTest, LostPacketsChangeNothingOfARun) {
  constexpr unsigned kLostPerMille = 20;
  const std::string& text = LocalText();
  std::string problem;
  const std::string no_network = InItsOwnNetwork([&] {
    std::optional<LossyDevice> loss;
    try {
      loss.emplace("lo", kLostPerMille);
    } catch (const Error& error) {
      problem = error.what();
      return;
    }
    const Runner runner;
    const Seed first(DemoModel());
    const Seed second(DemoModel());
    const ProcessResult result =
        runner.Run(first.link(), {"--peer", first.peer(), "--peer", second.peer()});
    ASSERT_EQ(result.status, kDone) << result.errors;
    EXPECT_EQ(result.output, text);
    EXPECT_GT(runner.SwarmStats()["experts_fetched"], 10);
    EXPECT_EQ(runner.SwarmStats()["failed_pieces"], 0);
    EXPECT_EQ(runner.SwarmStats()["banned_peers"], 0);
    EXPECT_EQ(runner.SwarmStats()["restarts"], 0);
    // Some 10000 packets.
    EXPECT_GT(TcpSegmentsSentAgain(), 20u);
  });
  if (!no_network.empty()) GTEST_SKIP() << no_network;
  if (!problem.empty()) GTEST_SKIP() << problem;
}

}  // namespace doppler
