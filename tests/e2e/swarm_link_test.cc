// Runs from peers in other networks, over links that are far, narrow or lose packets. Skipped where
// there are no network namespaces.
#include <memory>
#include <optional>

#include <gtest/gtest.h>

#include "e2e/swarm_runner.h"
#include "support/emulated_link.h"
#include "support/own_network.h"

namespace doppler {
namespace {

constexpr std::uint64_t kGigabit = 1'000'000'000;

// A network with peers, and the link to that of the runs.
class Site {
 public:
  Site(const OwnNetwork& runs, int number, const LinkOptions& options)
      : address_("10.77." + std::to_string(number) + ".1"),
        link_({.network = network_.descriptor(), .address = address_, .device = "link"},
              {.network = runs.descriptor(),
               .address = "10.77." + std::to_string(number) + ".2",
               .device = "link" + std::to_string(number)},
              options) {}

  // Starts a peer that has the demo model, and gives where it is.
  std::string Start() {
    network_.Run([this] { seeds_.push_back(std::make_unique<Seed>(DemoModel())); });
    return seeds_.back()->PeerAt(address_);
  }
  const std::string& model() const { return seeds_.front()->link(); }
  std::uint64_t lost() const { return link_.lost(); }

 private:
  const std::string address_;
  const OwnNetwork network_;
  const EmulatedLink link_;
  std::vector<std::unique_ptr<Seed>> seeds_;
};

// The networks of a test, as far as they may be made here.
class SwarmLinkTest : public testing::Test {
 protected:
  void SetUp() override {
    try {
      runs_.emplace();
      Site(*runs_, 1, {});
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }

  // Runs the prompt with these peers, and expects that it prints what a local run prints.
  void ExpectLocalText(const std::string& model, const std::vector<std::string>& peers) {
    std::vector<std::string> flags;
    for (const std::string& peer : peers) flags.insert(flags.end(), {"--peer", peer});
    const std::string& text = LocalText();
    runs_->Run([&] {
      const ProcessResult result = runner_.Run(model, flags);
      ASSERT_EQ(result.status, kDone) << result.errors;
      EXPECT_EQ(result.output, text);
    });
  }

  const Runner runner_;
  std::optional<OwnNetwork> runs_;
};

TEST_F(SwarmLinkTest, LostPacketsChangeNothingOfARun) {
  Site site(*runs_, 1,
            {.delay = std::chrono::milliseconds(1), .rate = kGigabit, .lost_per_mille = 20});
  const std::vector<std::string> peers = {site.Start(), site.Start()};
  ExpectLocalText(site.model(), peers);
  EXPECT_GT(runner_.SwarmStats()["experts_fetched"], 10);
  EXPECT_EQ(runner_.SwarmStats()["failed_pieces"], 0);
  EXPECT_EQ(runner_.SwarmStats()["banned_peers"], 0);
  EXPECT_EQ(runner_.SwarmStats()["restarts"], 0);
  // Of some 20000 packets.
  EXPECT_GT(site.lost(), 100u);
}

TEST_F(SwarmLinkTest, FarAndNarrowPeersDoNotHoldUpANearOne) {
  constexpr double kBoundedSeconds = 5;  // what a loaded machine adds is less
  Site near(*runs_, 1, {.delay = std::chrono::milliseconds(1), .rate = kGigabit});
  Site far(*runs_, 2, {.delay = std::chrono::milliseconds(100), .rate = kGigabit});
  Site narrow(*runs_, 3, {.delay = std::chrono::milliseconds(1), .rate = kGigabit / 100});
  const std::vector<std::string> peers = {far.Start(), narrow.Start(), near.Start()};
  ExpectLocalText(near.model(), peers);
  EXPECT_LT(runner_.SwarmStats()["page_in_p99_seconds"], kBoundedSeconds);
}

}  // namespace
}  // namespace doppler
