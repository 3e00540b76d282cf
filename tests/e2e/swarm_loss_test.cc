// A run from peers over a link of 1 Gbit/s, 1 ms away, that loses packets. Skipped where there are
// no network namespaces.
#include <optional>

#include <gtest/gtest.h>

#include "e2e/swarm_runner.h"
#include "support/emulated_link.h"
#include "support/own_network.h"

namespace doppler {
namespace {

constexpr const char* kSeeds = "10.77.0.1";
constexpr const char* kRuns = "10.77.0.2";

// Two machines and the link between them.
struct Machines {
  OwnNetwork seeds;
  OwnNetwork runs;
  EmulatedLink link{
      {.network = seeds.descriptor(), .address = kSeeds},
      {.network = runs.descriptor(), .address = kRuns},
      {.delay = std::chrono::milliseconds(1), .rate = 1'000'000'000, .lost_per_mille = 20}};
};

}  // namespace

TEST(SwarmLossTest, LostPacketsChangeNothingOfARun) {
  const std::string& text = LocalText();
  std::optional<Machines> machines;
  try {
    machines.emplace();
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  machines->seeds.Run([&] {
    const Seed first(DemoModel());
    const Seed second(DemoModel());
    machines->runs.Run([&] {
      const Runner runner;
      const ProcessResult result = runner.Run(
          first.link(), {"--peer", first.PeerAt(kSeeds), "--peer", second.PeerAt(kSeeds)});
      ASSERT_EQ(result.status, kDone) << result.errors;
      EXPECT_EQ(result.output, text);
      EXPECT_GT(runner.SwarmStats()["experts_fetched"], 10);
      EXPECT_EQ(runner.SwarmStats()["failed_pieces"], 0);
      EXPECT_EQ(runner.SwarmStats()["banned_peers"], 0);
      EXPECT_EQ(runner.SwarmStats()["restarts"], 0);
    });
  });
  // Of some 20000 packets.
  EXPECT_GT(machines->link.lost(), 100u);
}

}  // namespace doppler
