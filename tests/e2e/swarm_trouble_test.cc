// Runs from the swarm while something goes wrong: peers that hang, lie, are slow or go, a disk that
// is full. Peers are processes over loopback; those behind a Relay are far away.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <future>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include "e2e/swarm_runner.h"
#include "support/relay.h"
#include "swarm/sample_artifact.h"

namespace doppler {

using testing::HasSubstr;

namespace {

std::string Loopback(std::uint16_t port) { return "127.0.0.1:" + std::to_string(port); }

// What a page-in took at most, in seconds; a run of these tests has fewer than a hundred.
double LongestPageIn(const Runner& runner) {
  return runner.SwarmStats()["page_in_p99_seconds"].get<double>();
}

// Above what a loaded machine adds, and far below what libtorrent waits for a silent peer.
constexpr double kBoundedSeconds = 5;

// Memory that is a disk of its own, seen by this thread and the programs that it starts.
class SmallDisk {
 public:
  explicit SmallDisk(const fs::path& folder) : folder_(folder) { fs::create_directories(folder_); }
  ~SmallDisk() { ::umount2(folder_.c_str(), MNT_DETACH); }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  // False without the privileges for it.
  bool Mount(const char* size) const {
    return ::unshare(CLONE_NEWNS) == 0 &&
           ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           ::mount("none", folder_.c_str(), "tmpfs", 0, size) == 0;
  }
  void Resize(const char* size) const {
    ASSERT_EQ(::mount("none", folder_.c_str(), "tmpfs", MS_REMOUNT, size), 0);
  }

 private:
  const fs::path folder_;
};

// A run beside two seeds of which one is stopped, once.
class HangingPeer {
 public:
  // Whether it is time for that; asked again and again.
  using When = std::function<bool(const Runner&)>;

  void Run(const std::vector<std::string>& more, const When& when) {
    ProcessOptions options;
    options.signal_when = [&](const RunningProcess&) {
      if (stopped_.empty() && when(runner_)) {
        stopped_ = ChildrenOf(hangs_.program().id());
        for (const pid_t child : stopped_) ::kill(child, SIGSTOP);
      }
      return false;
    };
    std::vector<std::string> flags = {"--peer", hangs_.peer(), "--peer", other_.peer()};
    flags.insert(flags.end(), more.begin(), more.end());
    const ProcessResult result = runner_.Run(hangs_.link(), flags, options);
    for (const pid_t child : stopped_) ::kill(child, SIGCONT);
    ASSERT_EQ(result.status, kDone) << result.errors;
    EXPECT_EQ(stopped_.size(), 1u);
    EXPECT_EQ(result.output, LocalText());
    EXPECT_LT(LongestPageIn(runner_), kBoundedSeconds);
  }

 private:
  const Runner runner_;
  Seed hangs_{DemoModel(), kSlow};
  Seed other_{DemoModel(), kSlow};
  std::vector<pid_t> stopped_;
};

}  // namespace

TEST(SwarmTroubleTest, APeerThatHangsHoldsUpNothingBesideAnother) {
  HangingPeer().Run({}, [](const Runner& runner) { return runner.ExpertsBegun() >= 8; });
}

// Then the swarm process has made its connections anew.
TEST(SwarmTroubleTest, NeitherDoesOneThatHangsAfterExpertsWereRemoved) {
  std::set<std::string> seen;
  HangingPeer().Run({"--disk-cache", "6M"}, [&seen](const Runner& runner) {
    const std::size_t now = runner.ExpertsBegun();
    if (now == 0) return false;
    for (const std::string& name : Entries(runner.Folder() / "shards")) {
      if (name.ends_with(".bin")) seen.insert(name);
    }
    return seen.size() > now + 8;
  });
}

TEST(SwarmTroubleTest, SlowPeersDoNotHoldUpAFastOne) {
  const Runner runner;
  Seed seed(DemoModel());
  Seed far_seed(DemoModel());
  Seed narrow_seed(DemoModel());
  const Relay far({.to = far_seed.port(), .delay = std::chrono::milliseconds(100)});
  const Relay narrow({.to = narrow_seed.port(), .rate = 1'250'000});  // 10 Mbit/s
  const ProcessResult result = runner.Run(
      seed.link(),
      {"--peer", Loopback(far.port()), "--peer", Loopback(narrow.port()), "--peer", seed.peer()});
  ASSERT_EQ(result.status, kDone) << result.errors;
  EXPECT_EQ(result.output, LocalText());
  EXPECT_LT(LongestPageIn(runner), kBoundedSeconds);
}

TEST(SwarmTroubleTest, TwoRunsFetchFromEachOther) {
  const std::array<Runner, 2> runners;
  const std::string name = DemoModel().filename();
  const std::array<std::uint16_t, 2> ports = {FreePort(), FreePort()};
  std::array<std::future<ProcessResult>, 2> runs;
  std::array<std::optional<Seed>, 2> after;
  for (std::size_t i = 0; i < 2; ++i) {
    LinkDemoModel(runners[i].Store() / name, [i](std::size_t shard) { return shard % 2 == i; });
    runs[i] = std::async(std::launch::async, [&, i] {
      const ProcessResult result = runners[i].Run(
          name, {"--port", std::to_string(ports[i]), "--peer", Loopback(ports[1 - i])});
      // Whoever is done first goes on serving what it has.
      after[i].emplace(runners[i].Folder(),
                       std::vector<std::string>{"--port", std::to_string(ports[i])});
      return result;
    });
  }
  for (std::size_t i = 0; i < 2; ++i) {
    const ProcessResult result = runs[i].get();
    ASSERT_EQ(result.status, kDone) << result.errors;
    EXPECT_EQ(result.output, LocalText());
    EXPECT_GT(runners[i].SwarmStats()["experts_waited_for"], 5);
    EXPECT_GT(runners[i].SwarmStats()["uploaded_bytes"], 0);
  }
}

TEST(SwarmTroubleTest, APeerThatLiesAboutExpertsIsBanned) {
  const TempFolder temp;
  const fs::path torrent = temp.path() / "model.torrent";
  const fs::path lies = temp.path() / "lies";
  const std::string link = Seed(DemoModel(), {"--torrent", torrent}).link();
  LinkDemoModel(lies, [](std::size_t) { return false; });
  for (const std::string& name : Entries(DemoModel() / "shards")) {
    const fs::path shard = DemoModel() / "shards" / name;
    if (!fs::exists(lies / "shards" / name)) {
      WriteSampleFile(lies / "shards" / name, SampleBytes(4711, fs::file_size(shard)));
    }
  }
  BackgroundProgram liar({DOPPLER_LYING_SEED, torrent, lies});
  const std::uint16_t port = FreePort();
  // Comes when the liar is known, so that the liar is asked in any case.
  std::optional<Seed> honest;
  ProcessOptions options;
  options.signal_when = [&](const RunningProcess& process) {
    if (!honest && process.errors.find("sent wrong bytes") != std::string::npos) {
      honest.emplace(DemoModel(), std::vector<std::string>{"--port", std::to_string(port)});
    }
    return false;
  };
  const Runner runner;
  const ProcessResult result = runner.Run(
      link, {"--peer", "127.0.0.1:" + liar.FirstLine(), "--peer", Loopback(port)}, options);
  ASSERT_EQ(result.status, kDone) << result.errors;
  EXPECT_EQ(result.output, LocalText());
  EXPECT_EQ(runner.SwarmStats()["banned_peers"], 1);
  EXPECT_GE(runner.SwarmStats()["failed_pieces"], 1);
}

TEST(SwarmTroubleTest, AFullDiskEndsTheRunAndLosesNothing) {
  const Runner runner;
  const SmallDisk disk(runner.Store());
  if (!disk.Mount("size=8m")) GTEST_SKIP() << "may not mount: " << std::strerror(errno);
  Seed seed(DemoModel());
  const std::vector<std::string> flags = {"--peer", seed.peer()};
  const ProcessResult full = runner.Run(seed.link(), flags);
  EXPECT_EQ(full.status, kFailed);
  EXPECT_FALSE(full.timed_out);
  EXPECT_THAT(full.errors, HasSubstr("No space left on device; make room"));
  EXPECT_GT(runner.ExpertsBegun(), 1u);
  disk.Resize("size=64m");
  const ProcessResult again = runner.Run(seed.link(), flags);
  ASSERT_EQ(again.status, kDone) << again.errors;
  EXPECT_EQ(again.output, LocalText());
}

TEST(SwarmTroubleTest, WhoeverWaitsIsServedWhenAPeerIsBack) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  const fs::path here = temp.path() / "here";
  WriteSampleArtifact(model, {.experts = 24});
  fs::copy(model, here, fs::copy_options::recursive);
  for (int i = 1; i <= 24; ++i) fs::remove(here / fmt::format("shards/{:05}.bin", i));
  const std::vector<std::string> port = {"--port", std::to_string(FreePort())};
  std::optional<Seed> seed(std::in_place, model, port);
  const std::string peer = seed->peer();
  bool killed = false;
  ProcessOptions options;
  options.signal_when = [&](const RunningProcess& process) {
    if (!killed && fs::exists(here / "shards/00008.bin")) {
      seed.reset();
      killed = true;
    } else if (!seed && process.errors.find("does not come from the swarm") != std::string::npos) {
      seed.emplace(model, port);
    }
    return false;
  };
  const ProcessResult result =
      RunProcess({DOPPLER_SWARM_PAGE_IN, "fetch", here, "100", peer}, options);
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_TRUE(killed);
  EXPECT_THAT(result.errors, HasSubstr("nothing has come for 2 s"));
  EXPECT_THAT(result.output, HasSubstr("24 experts"));
  ExpectSameModel(model, here);
}

}  // namespace doppler
