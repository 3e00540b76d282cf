// A run in the swarm of a team.
#include <csignal>

#include <gtest/gtest.h>

#include "e2e/swarm_runner.h"
#include "e2e/team.h"

namespace doppler {

// With all that a run does in a swarm that is nobody's: one peer hangs, and the disk has no room
// for all, so that connections are made anew.
TEST(TeamSwarmTest, ARunFromMembersPrintsWhatALocalRunPrints) {
  const Crew crew;
  Seed first(DemoModel(), crew.FlagsOfSeed());
  const Seed second(DemoModel(), crew.FlagsOfSeed());
  const Runner runner;
  std::vector<pid_t> stopped;
  const ProcessOptions options = InTheMiddle(runner, [&](pid_t) {
    stopped = ChildrenOf(first.program().id());
    for (const pid_t id : stopped) ::kill(id, SIGSTOP);
  });
  const ProcessResult result = runner.Run(
      first.link(),
      crew.Flags({"--peer", first.peer(), "--peer", second.peer(), "--disk-cache", "20M"}),
      options);
  for (const pid_t id : stopped) ::kill(id, SIGCONT);
  ASSERT_EQ(result.status, kDone) << result.errors;
  EXPECT_FALSE(stopped.empty());
  EXPECT_EQ(result.output, LocalText());
  const nlohmann::json stats = runner.SwarmStats();
  EXPECT_GT(stats["experts_fetched"], 20);
  EXPECT_EQ(stats["failed_pieces"], 0);
  EXPECT_GT(stats["experts_evicted"], 0);
}

}  // namespace doppler
