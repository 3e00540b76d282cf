#include "e2e/sample_fetcher.h"

#include <thread>

namespace doppler {

namespace {

std::vector<PeerAddress> OnLoopback(const std::vector<std::uint16_t>& ports) {
  std::vector<PeerAddress> peers;
  for (const std::uint16_t port : ports) peers.push_back({.host = "127.0.0.1", .port = port});
  return peers;
}

}  // namespace

SampleFetcher::SampleFetcher(const SampleFetcherOptions& options)
    : fetcher_({.folder = options.folder,
                .reach = {.peers = OnLoopback(options.peers),
                          .trackers = {},
                          .web_seeds = {},
                          .port = options.port,
                          .private_only = true},
                .timeout_seconds = 60,
                .disk_budget = options.budget,
                .idle = options.idle},
               {.checking = [](Bytes, Bytes) {}, .notice = [](const std::string&) {}}) {
  fetcher_.SetListener([this](ShardId shard, const std::string& problem) {
    const std::lock_guard lock(mutex_);
    told_[shard.value] = problem;
    changed_.notify_all();
  });
  fetcher_.SetRanks([](std::span<double> ranks) {
    for (std::size_t i = 0; i < ranks.size(); ++i) ranks[i] = static_cast<double>(i);
  });
}

void SampleFetcher::Ask(int shard) {
  const std::lock_guard lock(mutex_);
  told_.erase(shard);
  fetcher_.Request(ShardId(shard), ShardUrgency::kNow);
}

std::string SampleFetcher::Await(int shard) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return told_.count(shard) > 0; });
  return told_[shard];
}

bool SampleFetcher::Reports(Bytes bytes) const {
  const auto deadline = Clock::now() + std::chrono::seconds(30);
  while (fetcher_.stats().downloaded < bytes && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return fetcher_.stats().downloaded >= bytes;
}

void CopyDense(const fs::path& model, const fs::path& to) {
  fs::create_directories(to / "shards");
  for (const char* name : {"manifest.json", "tokenizer.json", "shards/00000.bin"}) {
    fs::copy_file(model / name, to / name);
  }
}

}  // namespace doppler
