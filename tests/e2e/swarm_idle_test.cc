// Connections that are made anew after an idle while.
#include <condition_variable>
#include <mutex>

#include <gtest/gtest.h>

#include "e2e/sample_fetcher.h"
#include "e2e/swarm.h"
#include "support/relay.h"
#include "swarm/sample_artifact.h"

namespace doppler {
namespace {

// A way to a peer that counts who says hello on it: both sides do on each connection.
class CountedHellos {
 public:
  explicit CountedHellos(std::uint16_t to)
      : relay_({.to = to, .listen = [this](std::string_view bytes) { Hear(bytes); }}) {}
  std::uint16_t port() const { return relay_.port(); }

  // Whether there have been as many, soon.
  bool Reach(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return count_ >= count; });
  }

 private:
  void Hear(std::string_view bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes.starts_with("\x13"
                          "BitTorrent protocol"))
      ++count_;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
  Relay relay_;
};

}  // namespace

TEST(SwarmIdleTest, ConnectionsAreMadeAnewAfterAnIdleWhile) {
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  const fs::path here = temp.path() / "here";
  WriteSampleArtifact(model);
  CopyDense(model, here);
  const Seed seed(model);
  CountedHellos way(seed.port());
  SampleFetcher fetcher(
      {.folder = here, .peers = {way.port()}, .idle = std::chrono::milliseconds(100)});
  EXPECT_EQ(fetcher.Fetch(1), "");
  EXPECT_TRUE(way.Reach(4));
  EXPECT_EQ(fetcher.Fetch(2), "");
  // What came over the connections before counts.
  EXPECT_TRUE(fetcher.Reports(2 * SampleArtifactOptions().expert_bytes));
  EXPECT_EQ(fetcher.fetcher().stats().restarts, 0u);
  EXPECT_EQ(fetcher.fetcher().stats().failed_pieces, 0u);
}

}  // namespace doppler
