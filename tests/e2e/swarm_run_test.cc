// Models that run from the swarm: experts come from other processes over loopback while the text is
// generated.
#include <csignal>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/swarm_runner.h"
#include "io/file.h"
#include "swarm/checked_files.h"

namespace doppler {

using testing::HasSubstr;

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

// What a start hashes, and what becomes of a shard that is not what its record says.
TEST(SwarmRunTest, AStartHashesOnlyWhatHasChanged) {
  const std::string text = Output({"run", MoeModel(), "-p", "Once upon", "-n", "6", "--cold"});
  Runner runner;
  const Seed seed(MoeModel());
  const auto run = [&] {
    const ProcessResult result = runner.Run(seed.link(), {"--peer", seed.peer()});
    EXPECT_EQ(result.output, result.status == kDone ? text : result.output);
    return result;
  };
  EXPECT_EQ(run().status, kDone);
  EXPECT_EQ(run().status, kDone);
  EXPECT_EQ(runner.SwarmStats()["checked_bytes"], 0);
  EXPECT_EQ(runner.SwarmStats()["experts_fetched"], 0);
  fs::path expert;
  for (const std::string& name : Entries(runner.Folder() / "shards")) {
    if (name.ends_with(".bin") && name != "00000.bin") expert = runner.Folder() / "shards" / name;
  }
  const Bytes size = fs::file_size(expert);
  // Somebody writes to it and sets the time back.
  const auto time = fs::last_write_time(expert);
  Overwrite(expert, std::string(size, 'x'));
  fs::last_write_time(expert, time);
  EXPECT_EQ(run().status, kDone);
  EXPECT_EQ(runner.SwarmStats()["checked_bytes"], size);
  // The disk loses bytes: nothing tells of it but the bytes.
  Overwrite(expert, std::string(size, 'x'));
  std::vector<CheckedFile> record = ReadChecked(runner.Folder());
  bool known = false;
  for (CheckedFile& file : record) {
    if (runner.Folder() / file.path != expert) continue;
    file.stamp = *StampOf(expert);
    known = true;
  }
  ASSERT_TRUE(known);
  WriteChecked(runner.Folder(), record);
  const ProcessResult damaged = run();
  EXPECT_EQ(damaged.status, kFailed);
  EXPECT_THAT(damaged.errors, HasSubstr(expert.filename().string() + "' is damaged"));
  EXPECT_EQ(run().status, kDone);
  EXPECT_EQ(runner.SwarmStats()["experts_fetched"], 1);
}

TEST(SwarmRunTest, RefusesWhatDoesNotBelongTogether) {
  const std::string link = "magnet:?xt=urn:btmh:1220" + std::string(64, 'a');
  ExpectRefused(Doppler({"run", link, "-p", "x"}), kWrongUsage, {"--swarm", "'doppler pull'"});
  ExpectRefused(Doppler({"run", MoeModel(), "-p", "x", "--peer", "127.0.0.1:1"}), kWrongUsage,
                {"--peer requires --swarm"});
  ExpectRefused(Doppler({"run", link, "-p", "x", "--swarm"}), kWrongUsage, {"has no name"});
}

}  // namespace doppler
