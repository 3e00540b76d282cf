// How long experts take from peers, from the request to the file that was hashed.
//
//   swarm_page_in make FOLDER EXPERTS MIB           writes an artifact without meaning
//   swarm_page_in fetch FOLDER PAUSE_MS PEER...     fetches its experts, one after the other, each
//                                                   again when it fails, up to ten times
//   swarm_page_in relay PORT DELAY_MS BYTES/S       a way to a peer that is slow, until it is
//   killed
//   swarm_page_in link NETWORK ADDRESS NETWORK ADDRESS DELAY_US BITS/S PER_MILLE
//                                                   a link between two networks of `ip netns` that
//                                                   is far, narrow or loses packets, likewise
#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>

#include "base/error.h"
#include "format/artifact_files.h"
#include "support/emulated_link.h"
#include "support/relay.h"
#include "swarm/sample_artifact.h"
#include "swarm/shard_fetcher.h"

namespace doppler {
namespace {

// Fetches one shard after the other.
class OneByOne {
 public:
  explicit OneByOne(const ShardFetcherOptions& options)
      : fetcher_(options,
                 {.checking = [](Bytes, Bytes) {},
                  .notice = [](const std::string& text) { fmt::print(stderr, "{}\n", text); }}) {
    fetcher_.SetListener([this](ShardId shard, const std::string& problem) {
      const std::lock_guard lock(mutex_);
      told_ = shard;
      problem_ = problem;
      is_told_ = true;
      changed_.notify_all();
    });
  }

  bool Has(ShardId shard) const { return fetcher_.Has(shard); }
  // Seconds from the first request.
  double Fetch(ShardId shard) {
    constexpr int kMostFailures = 10;
    const Clock::time_point begin = Clock::now();
    for (int failures = 0;; ++failures) {
      const std::string problem = Ask(shard);
      if (problem.empty()) return SecondsBetween(begin, Clock::now());
      if (failures == kMostFailures) throw Error(problem);
      fmt::print(stderr, "{}\n", problem);
    }
  }

 private:
  // What is wrong, once it is told; empty if the shard came.
  std::string Ask(ShardId shard) {
    std::unique_lock lock(mutex_);
    is_told_ = false;
    fetcher_.Request(shard, ShardUrgency::kNow);
    // The listener may come before this waits: it takes the lock.
    changed_.wait(lock, [&] { return is_told_ && told_ == shard; });
    return problem_;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_told_ = false;
  ShardId told_;
  std::string problem_;
  ShardFetcher fetcher_;
};

void Fetch(const std::vector<std::string>& arguments) {
  ShardFetcherOptions options;
  options.folder = arguments[0];
  options.reach.private_only = true;
  options.timeout_seconds = 2;
  for (std::size_t i = 2; i < arguments.size(); ++i) {
    options.reach.peers.push_back(ParsePeer(arguments[i]));
  }
  const std::filesystem::path path = options.folder / kManifestFile;
  const Manifest manifest = ParseManifest(ReadTextFile(path), path.string());
  OneByOne fetcher(options);
  std::vector<double> milliseconds;
  for (std::size_t i = 0; i < manifest.shards.size(); ++i) {
    if (fetcher.Has(ShardId(i))) continue;
    milliseconds.push_back(1000 * fetcher.Fetch(ShardId(i)));
    std::this_thread::sleep_for(std::chrono::milliseconds(std::stoi(arguments[1])));
  }
  if (milliseconds.empty()) Throw("all experts are there");
  const double first = milliseconds.front();
  std::sort(milliseconds.begin(), milliseconds.end());
  const auto at = [&](double part) {
    return milliseconds[static_cast<std::size_t>(part *
                                                 static_cast<double>(milliseconds.size() - 1))];
  };
  fmt::print("{} experts: first {:.0f} ms, p50 {:.1f}, p90 {:.1f}, p99 {:.1f}, longest {:.1f}\n",
             milliseconds.size(), first, at(0.5), at(0.9), at(0.99), milliseconds.back());
}

[[noreturn]] void UntilKilled() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

[[noreturn]] void Forward(const std::vector<std::string>& arguments) {
  const Relay relay({.to = static_cast<std::uint16_t>(std::stoi(arguments[0])),
                     .delay = std::chrono::milliseconds(std::stoi(arguments[1])),
                     .everywhere = true,
                     .rate = std::stoull(arguments[2])});
  fmt::print("{}\n", relay.port());
  std::fflush(stdout);
  UntilKilled();
}

int NamedNetwork(const std::string& name) {
  const int network = ::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
  if (network < 0) Throw("no network '{}': make it with `ip netns add {}`", name, name);
  return network;
}

[[noreturn]] void Link(const std::vector<std::string>& arguments) {
  const EmulatedLink link({.network = NamedNetwork(arguments[0]), .address = arguments[1]},
                          {.network = NamedNetwork(arguments[2]), .address = arguments[3]},
                          {.delay = std::chrono::microseconds(std::stoi(arguments[4])),
                           .rate = std::stoull(arguments[5]),
                           .lost_per_mille = static_cast<unsigned>(std::stoul(arguments[6]))});
  UntilKilled();
}

void Make(const std::vector<std::string>& arguments) {
  WriteSampleArtifact(arguments[0], {.name = "page-in",
                                     .experts = std::stoi(arguments[1]),
                                     .expert_bytes = std::stoull(arguments[2]) * kMiB});
}

}  // namespace
}  // namespace doppler

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  try {
    if (arguments.size() == 4 && arguments[0] == "make") {
      doppler::Make({arguments.begin() + 1, arguments.end()});
    } else if (arguments.size() >= 4 && arguments[0] == "fetch") {
      doppler::Fetch({arguments.begin() + 1, arguments.end()});
    } else if (arguments.size() == 4 && arguments[0] == "relay") {
      doppler::Forward({arguments.begin() + 1, arguments.end()});
    } else if (arguments.size() == 8 && arguments[0] == "link") {
      doppler::Link({arguments.begin() + 1, arguments.end()});
    } else {
      std::fputs(
          "swarm_page_in make FOLDER EXPERTS MIB | fetch FOLDER PAUSE_MS PEER... | "
          "relay PORT DELAY_MS BYTES/S | link NETWORK ADDRESS NETWORK ADDRESS DELAY_US BITS/S "
          "PER_MILLE\n",
          stderr);
      return 2;
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "swarm_page_in: {}\n", error.what());
    return 1;
  }
  return 0;
}
