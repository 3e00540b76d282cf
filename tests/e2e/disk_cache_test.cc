// Experts that are removed from the disk again: a run with `--disk-cache`, and what peers see of
// it.
#include <csignal>
#include <optional>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/sample_fetcher.h"
#include "e2e/swarm.h"
#include "io/file.h"
#include "swarm/fetched_mark.h"
#include "swarm/sample_artifact.h"

namespace doppler {

using testing::HasSubstr;

namespace {

// What a folder's expert shards take, by their lengths: shard 0 is the dense one.
Bytes ExpertBytes(const fs::path& model) {
  Bytes total = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(model / "shards", error)) {
    const std::string name = entry.path().filename();
    if (!name.ends_with(".bin") || name == "00000.bin") continue;
    const Bytes size = entry.file_size(error);
    // It may have been removed since.
    if (!error) total += size;
  }
  return total;
}

Bytes LargestExpert(const fs::path& model) {
  Bytes largest = 0;
  for (const auto& entry : fs::directory_iterator(model / "shards")) {
    const std::string name = entry.path().filename();
    if (name.ends_with(".bin") && name != "00000.bin") {
      largest = std::max<Bytes>(largest, entry.file_size());
    }
  }
  return largest;
}

// A store of its own, and a run from the swarm that may keep a few experts.
class CachedOnDisk {
 public:
  explicit CachedOnDisk(Bytes budget) : budget_(budget) {}

  ProcessResult Run(const Seed& seed, bool kill_after_evictions = false) {
    ProcessOptions options;
    options.environment = {{"DOPPLER_STORE", temp_.path() / "store"}};
    options.signal_when = [&](const RunningProcess& process) {
      Look();
      if (kill_after_evictions && seen_.size() * LargestExpert(DemoModel()) > 2 * budget_) {
        ::kill(process.id, SIGKILL);
      }
      return false;
    };
    fs::remove(Stats());
    return Doppler(
        {"run", seed.link(), "--swarm", "--private", "--peer", seed.peer(), "-p", "Once upon", "-n",
         "4", "--disk-cache", std::to_string(budget_), "--stats", Stats()},
        options);
  }
  nlohmann::json SwarmStats() const { return ReadJson(Stats())["swarm"]; }
  // The most bytes of experts that were on disk whenever it was looked at.
  Bytes most() const { return most_; }

 private:
  fs::path Stats() const { return temp_.path() / "stats.json"; }
  void Look() {
    if (!fs::exists(temp_.path() / "store")) return;
    for (const std::string& name : Entries(temp_.path() / "store")) {
      const fs::path model = temp_.path() / "store" / name;
      most_ = std::max(most_, ExpertBytes(model));
      if (!fs::exists(model / "shards")) continue;
      for (const std::string& shard : Entries(model / "shards")) {
        if (shard.ends_with(".bin")) seen_.insert(shard);
      }
    }
  }

  const Bytes budget_;
  const TempFolder temp_;
  Bytes most_ = 0;
  std::set<std::string> seen_;
};

// The demo model's tokens use four experts in a layer, and two are guessed.
Bytes TwelveExperts() { return 12 * LargestExpert(DemoModel()); }

constexpr Bytes kSampleExpert = 320 * kKiB;

}  // namespace

// Killed while experts go, and then not.
TEST(DiskCacheRunTest, TheBudgetHoldsAndTheTextIsThatOfALocalRun) {
  CachedOnDisk disk(TwelveExperts());
  const Seed seed(DemoModel());
  EXPECT_EQ(disk.Run(seed, true).signal, SIGKILL);
  const ProcessResult result = disk.Run(seed);
  ASSERT_EQ(result.status, kDone) << result.errors;
  EXPECT_EQ(result.output, Output({"run", DemoModel(), "-p", "Once upon", "-n", "4", "--cold"}));
  EXPECT_GT(disk.SwarmStats()["experts_evicted"], 12);
  EXPECT_GT(disk.SwarmStats()["bytes_evicted"], TwelveExperts());
  EXPECT_EQ(disk.SwarmStats()["restarts"], 0);
  EXPECT_THAT(result.errors, HasSubstr(" removed from the disk"));
  EXPECT_GT(disk.most(), 0u);
  EXPECT_LE(disk.most(), TwelveExperts());
}

TEST(DiskCacheRunTest, RefusesASizeThatCannotDo) {
  const Bytes least = 3 * LargestExpert(MoeModel());
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  fs::copy(MoeModel(), model, fs::copy_options::recursive);
  const auto run = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> arguments = {"run", model, "-p", "x", "--disk-cache"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return Doppler(arguments);
  };
  ExpectRefused(run({"1G", "--swarm", "--private"}), kFailed,
                {"was not fetched from the swarm", "may be the only copy", "doppler pull LINK"});
  MarkFetched(model, {});
  ExpectRefused(run({std::to_string(least - 1), "--swarm", "--private"}), kFailed,
                {"is too small for", "--disk-cache " + std::to_string(least) + " or more"});
  ExpectRefused(run({"1G"}), kWrongUsage,
                {"--disk-cache needs --swarm", "local copy would be lost"});
}

TEST(DiskCacheRunTest, PeersAreToldThatAnExpertIsGoneAndThatItIsBack) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  WriteSampleArtifact(model, {.experts = 6});
  for (const char* name : {"small", "other"}) CopyDense(model, temp.path() / name);
  const std::uint16_t seed_port = FreePort();
  const std::vector<std::string> port_flag = {"--port", std::to_string(seed_port)};
  std::optional<Seed> seed(std::in_place, model, port_flag);
  const std::uint16_t port = FreePort();
  SampleFetcher small({.folder = temp.path() / "small",
                       .peers = {seed_port},
                       .port = port,
                       .budget = 3 * kSampleExpert});
  for (const int shard : {1, 2, 3, 4}) EXPECT_EQ(small.Fetch(shard), "");
  EXPECT_FALSE(small.fetcher().Has(ShardId(1)));
  EXPECT_FALSE(fs::exists(temp.path() / "small/shards/00001.bin"));
  EXPECT_LE(ExpertBytes(temp.path() / "small"), 3 * kSampleExpert);
  EXPECT_EQ(small.Fetch(5), "");
  // Also since connections were made anew.
  EXPECT_TRUE(small.Reports(5 * kSampleExpert));
  seed.reset();
  SampleFetcher other({.folder = temp.path() / "other", .peers = {port}});
  other.Ask(1);
  EXPECT_EQ(other.Fetch(3), "");
  EXPECT_FALSE(other.fetcher().Has(ShardId(1)));
  // What is leased stays, and another goes in its place.
  ASSERT_TRUE(small.fetcher().Lease(ShardId(3)));
  seed.emplace(model, port_flag);
  EXPECT_EQ(small.Fetch(1), "");
  EXPECT_TRUE(small.fetcher().Has(ShardId(3)));
  EXPECT_FALSE(small.fetcher().Has(ShardId(4)));
  EXPECT_EQ(other.Await(1), "");
  EXPECT_EQ(small.fetcher().stats().restarts, 0u);
  EXPECT_EQ(small.fetcher().stats().evicted, 3u);
  EXPECT_EQ(other.fetcher().stats().failed_pieces, 0u);
  small.fetcher().EndLease(ShardId(3));
}

}  // namespace doppler
