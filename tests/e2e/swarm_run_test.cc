// Models that run from the swarm: experts come from other processes over loopback while the text is
// generated.
#include <csignal>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/swarm.h"
#include "io/file.h"

namespace doppler {

using testing::HasSubstr;

namespace {

// A machine of its own, as far as models are concerned.
class Runner {
 public:
  // The folder of the one model that was fetched; empty if there is none yet.
  fs::path Folder() const {
    const fs::path store = temp_.path() / "store";
    const std::vector<std::string> names =
        fs::exists(store) ? Entries(store) : std::vector<std::string>();
    return names.empty() ? fs::path() : store / names.front();
  }
  // Experts of which bytes are here, once all else is.
  std::size_t ExpertsBegun() const {
    const fs::path folder = Folder();
    if (folder.empty() || !fs::exists(folder / "manifest.json")) return 0;
    std::size_t shards = 0;
    for (const std::string& name : Entries(folder / "shards")) {
      shards += name.ends_with(".bin") ? 1 : 0;
    }
    return shards - 1;
  }
  ProcessResult Run(const std::string& model, const std::vector<std::string>& flags,
                    ProcessOptions options = {}) {
    std::vector<std::string> arguments = {"run", model, "--swarm", "--private", "-p",   "Once upon",
                                          "-n",  "16",  "--cold",  "--stats",   Stats()};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    fs::remove(Stats());
    options.environment = {{"DOPPLER_STORE", temp_.path() / "store"}};
    return Doppler(arguments, options);
  }
  nlohmann::json SwarmStats() const { return ReadJson(Stats())["swarm"]; }

 private:
  fs::path Stats() const { return temp_.path() / "stats.json"; }

  const TempFolder temp_;
};

std::string LocalText() {
  static const std::string text =
      Output({"run", DemoModel(), "-p", "Once upon", "-n", "16", "--cold"});
  return text;
}

// Calls `action` once, when some of the experts have come.
ProcessOptions InTheMiddle(const Runner& runner, const std::function<void(pid_t)>& action) {
  ProcessOptions options;
  options.signal_when = [&runner, action, done = false](const RunningProcess& process) mutable {
    if (!done && runner.ExpertsBegun() >= 8) {
      action(process.id);
      done = true;
    }
    return false;
  };
  return options;
}

const std::vector<std::string> kSlow = {"--upload-limit", "6M"};

}  // namespace

TEST(SwarmRunTest, FromAnEmptyDiskItIsALocalRunAndThenNeedsNoNetwork) {
  Runner runner;
  {
    Seed seed(DemoModel());
    const ProcessResult first = runner.Run(seed.link(), {"--peer", seed.peer()});
    ASSERT_EQ(first.status, kDone) << first.errors;
    EXPECT_EQ(first.output, LocalText());
    EXPECT_THAT(first.errors, HasSubstr("swarm: "));
    const nlohmann::json stats = runner.SwarmStats();
    EXPECT_GT(stats["experts_fetched"], 10);
    EXPECT_GT(stats["experts_waited_for"], 10);
    EXPECT_GT(stats["page_in_p50_seconds"], 0);
    EXPECT_GT(stats["bytes_fetched"], stats["experts_fetched"].get<int>() * 1000);
    EXPECT_EQ(stats["failed_requests"], 0);
    EXPECT_EQ(stats["restarts"], 0);
  }
  const std::string name = runner.Folder().filename();
  const ProcessResult second = runner.Run(name, {"--speculate", "0"});
  ASSERT_EQ(second.status, kDone) << second.errors;
  EXPECT_EQ(second.output, LocalText());
  EXPECT_EQ(runner.SwarmStats()["experts_fetched"], 0);
}

TEST(SwarmRunTest, ASeedThatVanishesIsNotMissedBesideAnother) {
  Runner runner;
  std::optional<Seed> first(std::in_place, DemoModel(), kSlow);
  Seed second(DemoModel(), kSlow);
  bool killed = false;
  const ProcessOptions options = InTheMiddle(runner, [&](pid_t) {
    first->program().End(SIGKILL);
    killed = true;
  });
  const ProcessResult result =
      runner.Run(first->link(), {"--peer", first->peer(), "--peer", second.peer()}, options);
  ASSERT_EQ(result.status, kDone) << result.errors;
  EXPECT_TRUE(killed);
  EXPECT_EQ(result.output, LocalText());
}

TEST(SwarmRunTest, WithoutPeersItFailsInTimeAndGoesOnWhenOneIsBack) {
  Runner runner;
  std::optional<Seed> seed(std::in_place, DemoModel(), kSlow);
  const std::string link = seed->link();
  const std::vector<std::string> flags = {"--peer", seed->peer(), "--swarm-timeout", "2"};
  const ProcessOptions options = InTheMiddle(runner, [&](pid_t) { seed->program().End(SIGKILL); });
  const ProcessResult result = runner.Run(link, flags, options);
  EXPECT_EQ(result.status, kFailed);
  EXPECT_THAT(result.errors, testing::ContainsRegex("doppler: expert [0-9]+ of layer [0-9]+ "));
  EXPECT_THAT(result.errors, HasSubstr("nothing has come for 2 s from 0 peers"));
  EXPECT_FALSE(result.timed_out);
  Seed back(DemoModel());
  const ProcessResult again = runner.Run(link, {"--peer", back.peer()});
  ASSERT_EQ(again.status, kDone) << again.errors;
  EXPECT_EQ(again.output, LocalText());
}

TEST(SwarmRunTest, ASwarmProcessThatDiesIsReplaced) {
  Runner runner;
  Seed seed(DemoModel(), kSlow);
  bool killed = false;
  const ProcessOptions options = InTheMiddle(runner, [&killed](pid_t id) {
    for (const pid_t child : ChildrenOf(id)) killed |= ::kill(child, SIGKILL) == 0;
  });
  const ProcessResult result = runner.Run(seed.link(), {"--peer", seed.peer()}, options);
  ASSERT_EQ(result.status, kDone) << result.errors;
  EXPECT_TRUE(killed);
  EXPECT_THAT(result.errors, HasSubstr("was ended by signal 9; starting another"));
  EXPECT_EQ(result.output, LocalText());
  EXPECT_EQ(runner.SwarmStats()["restarts"], 1);
}

TEST(SwarmRunTest, ARunThatIsKilledLosesNothing) {
  Runner runner;
  Seed seed(DemoModel(), kSlow);
  const ProcessOptions options = InTheMiddle(runner, [](pid_t id) { ::kill(id, SIGKILL); });
  EXPECT_EQ(runner.Run(seed.link(), {"--peer", seed.peer()}, options).signal, SIGKILL);
  const ProcessResult again = runner.Run(seed.link(), {"--peer", seed.peer()});
  ASSERT_EQ(again.status, kDone) << again.errors;
  EXPECT_EQ(again.output, LocalText());
}

TEST(SwarmRunTest, WhatARunHasFetchedServesAnother) {
  Runner first;
  Seed seed(DemoModel());
  const ProcessResult result = first.Run(seed.link(), {"--peer", seed.peer()});
  ASSERT_EQ(result.status, kDone) << result.errors;
  const std::string link = seed.link();
  seed.program().End(SIGKILL);
  // What the first has is all that the second needs.
  Seed partial(first.Folder());
  Runner second;
  const ProcessResult from_first = second.Run(link, {"--peer", partial.peer(), "--speculate", "0"});
  ASSERT_EQ(from_first.status, kDone) << from_first.errors;
  EXPECT_EQ(from_first.output, LocalText());
}

TEST(SwarmRunTest, OtherCommandsFetchToo) {
  const TempFolder temp;
  const fs::path ids = temp.path() / "ids.json";
  Overwrite(ids, "[1, 2, 3]");
  const auto logits = [&](const std::string& model, const std::string& name,
                          const std::vector<std::string>& flags) {
    std::vector<std::string> arguments = {"logits", model, "--ids", ids, "-o", temp.path() / name};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    ExpectDone(Doppler(arguments, {.environment = {{"DOPPLER_STORE", temp.path() / "store"}}}));
    return ReadTextFile(temp.path() / name);
  };
  const Seed seed(MoeModel());
  const std::vector<std::string> swarm = {"--swarm", "--private", "--peer", seed.peer()};
  EXPECT_EQ(logits(seed.link(), "swarm", swarm), logits(MoeModel(), "local", {}));
  std::vector<std::string> bench = {"bench", seed.link(),     "--prefill", "3",     "--decode",
                                    "1",     "--repetitions", "1",         "--json"};
  bench.insert(bench.end(), swarm.begin(), swarm.end());
  const ProcessResult result =
      Doppler(bench, {.environment = {{"DOPPLER_STORE", temp.path() / "other"}}});
  ASSERT_EQ(result.status, kDone) << result.errors;
  EXPECT_GE(nlohmann::json::parse(result.output)["swarm"]["experts_fetched"], 2);
  for (const char* command : {"chat", "bench"}) {
    ExpectRefused(Doppler({command, seed.link()}), kWrongUsage, {"--swarm", "'doppler pull'"});
  }
}

TEST(SwarmRunTest, RefusesWhatDoesNotBelongTogether) {
  const std::string link = "magnet:?xt=urn:btmh:1220" + std::string(64, 'a');
  ExpectRefused(Doppler({"run", link, "-p", "x"}), kWrongUsage, {"--swarm", "'doppler pull'"});
  ExpectRefused(Doppler({"run", MoeModel(), "-p", "x", "--peer", "127.0.0.1:1"}), kWrongUsage,
                {"--peer requires --swarm"});
  ExpectRefused(Doppler({"run", link, "-p", "x", "--swarm"}), kWrongUsage, {"has no name"});
}

}  // namespace doppler
