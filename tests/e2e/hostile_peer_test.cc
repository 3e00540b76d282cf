// Peers that break the protocol, or lie, beside an honest one: the swarm process lives, drops them,
// and finishes.
#include "support/hostile_peer.h"

#include <atomic>
#include <csignal>
#include <memory>
#include <optional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/sample_fetcher.h"
#include "e2e/swarm.h"
#include "support/blamed_peer.h"
#include "swarm/sample_artifact.h"
#include "swarm/torrent.h"

namespace doppler {
namespace {

// A model, its torrent with and without piece layers, and where an honest peer will be.
class ModelToFetch {
 public:
  ModelToFetch() {
    WriteSampleArtifact(model());
    const Seed seed(model(), {"--torrent", whole_torrent()});
    link_ = seed.link();
    Torrent torrent = ParseTorrent(ReadTextFile(whole_torrent()), "test");
    pieces_ = PieceCount(torrent);
    for (TorrentFile& file : torrent.files) file.layer.clear();
    WriteTextFile(bare_torrent(), WriteTorrent(torrent));
  }
  fs::path model() const { return temp_.path() / "model"; }
  fs::path whole_torrent() const { return temp_.path() / "whole.torrent"; }
  fs::path bare_torrent() const { return temp_.path() / "bare.torrent"; }
  const std::string& link() const { return link_; }

  static std::string TricksOf(const std::vector<std::unique_ptr<HostilePeer>>& peers) {
    std::string text = "tricks:";
    for (const auto& peer : peers) text += " " + std::to_string(peer->tricks());
    return text;
  }
  std::size_t pieces() const { return pieces_; }

  // What comes first is here, so that something is asked of every peer at once.
  void BeginPull(const fs::path& out) const {
    fs::create_directories(out);
    fs::copy_file(model() / "manifest.json", out / "manifest.json.partial");
  }
  // Pulls from hostile peers, and from an honest one that comes when all of these have done what
  // they do.
  void ExpectPullBeside(const std::string& source, const std::vector<PeerTrick>& tricks) {
    std::vector<std::unique_ptr<HostilePeer>> hostile;
    const std::uint16_t port = FreePort();
    std::vector<std::string> flags = {"--peer", "127.0.0.1:" + std::to_string(port)};
    for (const PeerTrick trick : tricks) {
      hostile.push_back(std::make_unique<HostilePeer>(trick, pieces_));
      flags.insert(flags.end(), {"--peer", "127.0.0.1:" + std::to_string(hostile.back()->port())});
    }
    std::optional<Seed> honest;
    ProcessOptions options;
    options.signal_when = [&](const RunningProcess&) {
      bool all = true;
      for (const auto& peer : hostile) all = all && peer->tricks() > 0;
      if (all && !honest) {
        honest.emplace(model(), std::vector<std::string>{"--port", std::to_string(port)});
      }
      return false;
    };
    const TempFolder temp;
    const fs::path out = temp.path() / "pulled";
    BeginPull(out);
    options.timeout = std::chrono::seconds(60);
    const ProcessResult result = Doppler(PullArguments(source, out, flags), options);
    ASSERT_EQ(result.status, kDone) << result.errors << TricksOf(hostile);
    for (std::size_t i = 0; i < hostile.size(); ++i) {
      EXPECT_GT(hostile[i]->tricks(), 0) << i;
      EXPECT_GT(hostile[i]->dropped(), 0) << i;
    }
    EXPECT_EQ(nlohmann::json::parse(result.output)["restarts"], 0) << result.errors;
    ExpectSameModel(model(), out);
  }

 private:
  const TempFolder temp_;
  std::string link_;
  std::size_t pieces_ = 0;
};

// A peer that is asked for all of a file, sends half of that and chokes, beside one that has been
// asked for nothing until then.
class ChokingPeer {
 public:
  explicit ChokingPeer(ServedFile file) : file_(std::move(file)) {
    thread_ = std::thread([this] { Run(); });
  }
  ~ChokingPeer() {
    stop_ = true;
    thread_.join();
  }
  ChokingPeer(const ChokingPeer&) = delete;
  ChokingPeer& operator=(const ChokingPeer&) = delete;
  std::vector<std::uint16_t> ports() const { return {chokes_.port(), serves_.port()}; }

 private:
  void Run() {
    const auto chokes = MeetPeer(chokes_, file_, stop_);
    const auto serves = MeetPeer(serves_, file_, stop_);
    if (chokes == nullptr || serves == nullptr) return;
    chokes->Say(PeerMessage::kUnchoke);
    for (std::size_t asked = 0; asked < file_.bytes.size() / kWireBlock; ++asked) {
      const std::optional<std::string> request = NextRequest(*chokes);
      if (!request) return;
      if (asked % 2 == 0) SendBlock(*chokes, file_, *request, true);
    }
    serves->Say(PeerMessage::kUnchoke);
    serves->AwaitTaken();
    chokes->Say(PeerMessage::kChoke);
    while (const auto request = NextRequest(*serves)) SendBlock(*serves, file_, *request, true);
  }

  const ServedFile file_;
  const LoopbackListener chokes_;
  const LoopbackListener serves_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace

TEST(HostilePeerTest, WhatAPeerRefusesIsAskedOfAnotherAtOnce) {
  // libtorrent does so after five or more.
  constexpr double kSoonSeconds = 4;
  const TempFolder temp;
  const fs::path model = temp.path() / "model";
  const fs::path here = temp.path() / "here";
  WriteSampleArtifact(model);
  CopyDense(model, here);
  const ChokingPeer peers(FileOf(model, "shards/00001.bin"));
  SampleFetcher fetcher({.folder = here, .peers = peers.ports()});
  EXPECT_EQ(fetcher.Fetch(1), "");
  EXPECT_LT(fetcher.fetcher().stats().page_ins.Quantile(1), kSoonSeconds);
  EXPECT_EQ(fetcher.fetcher().stats().failed_pieces, 0u);
}

TEST(HostilePeerTest, WrongTreesHarmNobody) {
  ModelToFetch model;
  model.ExpectPullBeside(model.bare_torrent(), {PeerTrick::kWrongHashes, PeerTrick::kFewerHashes});
}

TEST(HostilePeerTest, WrongSizesHarmNobody) {
  ModelToFetch model;
  model.ExpectPullBeside(model.whole_torrent(),
                         {PeerTrick::kLongBlocks, PeerTrick::kBlocksBeyondTheEnd,
                          PeerTrick::kWrongBitfield, PeerTrick::kHugeMessage, PeerTrick::kGarbage});
}

TEST(HostilePeerTest, BytesThatNobodyAskedForDoNotHoldUpATimeout) {
  const ModelToFetch model;
  const HostilePeer peer(PeerTrick::kUnaskedBlocks, model.pieces());
  const TempFolder temp;
  const fs::path out = temp.path() / "pulled";
  model.BeginPull(out);
  ProcessOptions options;
  options.timeout = std::chrono::seconds(60);
  const ProcessResult result =
      Doppler({"pull", model.whole_torrent(), "--private", "--out", out, "--timeout", "1", "--peer",
               "127.0.0.1:" + std::to_string(peer.port())},
              options);
  EXPECT_EQ(result.status, kFailed) << result.errors;
  EXPECT_THAT(result.errors, testing::HasSubstr("nothing has come for 1 s "));
  EXPECT_GT(peer.tricks(), 10);
}

// They stay, and are the first whom the pull knows.
TEST(HostilePeerTest, WrongInfoDictionariesHoldNobodyUp) {
  ModelToFetch model;
  const std::uint16_t port = FreePort();
  std::vector<std::unique_ptr<HostilePeer>> hostile;
  std::vector<std::string> flags;
  for (const PeerTrick trick :
       {PeerTrick::kWrongInfo, PeerTrick::kHugeInfo, PeerTrick::kSlowInfo, PeerTrick::kSlowInfo}) {
    hostile.push_back(std::make_unique<HostilePeer>(trick, model.pieces()));
    flags.insert(flags.end(), {"--peer", "127.0.0.1:" + std::to_string(hostile.back()->port())});
  }
  flags.insert(flags.end(), {"--peer", "127.0.0.1:" + std::to_string(port)});
  std::optional<Seed> honest;
  ProcessOptions options;
  options.signal_when = [&](const RunningProcess&) {
    bool all = true;
    for (const auto& peer : hostile) all = all && peer->tricks() > 0;
    if (all && !honest) {
      honest.emplace(model.model(), std::vector<std::string>{"--port", std::to_string(port)});
    }
    return false;
  };
  const TempFolder temp;
  options.timeout = std::chrono::seconds(60);
  const ProcessResult result =
      Doppler(PullArguments(model.link(), temp.path() / "pulled", flags), options);
  ASSERT_EQ(result.status, kDone) << result.errors << ModelToFetch::TricksOf(hostile);
  EXPECT_EQ(nlohmann::json::parse(result.output)["restarts"], 0);
  ExpectSameModel(model.model(), temp.path() / "pulled");
}

// Both have a part in five failed pieces, and libtorrent bans both.
TEST(HostilePeerTest, AnHonestPeerThatIsBannedBesideALiarIsPardoned) {
  const ModelToFetch model;
  const std::string lacking = "shards/00002.bin";
  const TempFolder temp;
  const fs::path out = temp.path() / "pulled";
  fs::copy(model.model(), out, fs::copy_options::recursive);
  fs::remove(out / lacking);
  const BlamedPeer peers(FileOf(model.model(), lacking));
  const std::string honest = "127.0.0.1:" + std::to_string(peers.honest_port());
  const std::string liar = "127.0.0.1:" + std::to_string(peers.liar_port());
  ProcessOptions options;
  options.timeout = std::chrono::seconds(60);
  const ProcessResult result = Doppler(
      PullArguments(model.whole_torrent(), out, {"--peer", honest, "--peer", liar}), options);
  ASSERT_EQ(result.status, kDone) << result.errors << "in part " << peers.part();
  EXPECT_EQ(peers.part(), 3);
  const nlohmann::json report = nlohmann::json::parse(result.output);
  EXPECT_GT(report["failed_pieces"], 5);
  // Nothing tells them apart then; the liar goes on and is found out.
  EXPECT_THAT(report["pardoned"], testing::UnorderedElementsAre(honest, liar));
  EXPECT_EQ(report["banned"], nlohmann::json({liar}));
  EXPECT_EQ(report["restarts"], 0);
  ExpectSameModel(model.model(), out);
}

}  // namespace doppler
