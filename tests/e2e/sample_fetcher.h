// Fetches shards of a sample artifact from the swarm, one by one, in the process of the test.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "e2e/program.h"
#include "swarm/shard_fetcher.h"

namespace doppler {

struct SampleFetcherOptions {
  fs::path folder;
  std::vector<std::uint16_t> peers;  // ports on 127.0.0.1: of whom to fetch from,
  std::uint16_t port = 0;            // and its own; 0: any
  std::optional<Bytes> budget = {};
  std::chrono::milliseconds idle = ShardFetcherOptions().idle;
};

class SampleFetcher {
 public:
  // Of the experts on disk the one with the lowest number is the coldest.
  explicit SampleFetcher(const SampleFetcherOptions& options);

  void Ask(int shard);
  // Waits. What was wrong; empty once it is there.
  std::string Await(int shard);
  std::string Fetch(int shard) {
    Ask(shard);
    return Await(shard);
  }
  // Whether that much is reported as downloaded, soon.
  bool Reports(Bytes bytes) const;
  ShardFetcher& fetcher() { return fetcher_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, std::string> told_;
  ShardFetcher fetcher_;
};

// Makes a folder with a sample artifact, but for its experts.
void CopyDense(const fs::path& model, const fs::path& to);

}  // namespace doppler
