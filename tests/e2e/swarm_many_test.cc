// Many peers on one machine.
#include <memory>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "e2e/swarm_runner.h"

namespace doppler {

TEST(SwarmManyTest, TwentyPeersWithARandomTenthOfTheExpertsEach) {
  constexpr std::size_t kPeers = 20;
  const TempFolder temp;
  const std::size_t shards = Entries(DemoModel() / "shards").size();
  // Every expert is with two peers, by chance.
  std::vector<std::set<std::size_t>> holders(shards + 1);
  std::mt19937 random(1);
  for (std::set<std::size_t>& some : holders) {
    while (some.size() < 2) some.insert(random() % kPeers);
  }
  std::vector<std::unique_ptr<Seed>> seeds(kPeers);
  std::vector<std::thread> starts;
  for (std::size_t i = 0; i < kPeers; ++i) {
    const fs::path folder = temp.path() / std::to_string(i);
    LinkDemoModel(folder, [&](std::size_t shard) { return holders[shard].contains(i); });
    starts.emplace_back([&seeds, folder, i] { seeds[i] = std::make_unique<Seed>(folder); });
  }
  for (std::thread& start : starts) start.join();
  std::vector<std::string> flags;
  for (const std::unique_ptr<Seed>& seed : seeds) {
    flags.insert(flags.end(), {"--peer", seed->peer()});
  }
  const Runner runner;
  const ProcessResult result = runner.Run(seeds.front()->link(), flags);
  ASSERT_EQ(result.status, kDone) << result.errors;
  EXPECT_EQ(result.output, LocalText());
}

}  // namespace doppler
