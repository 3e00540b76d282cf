#include "swarm/peer_survey.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <random>
#include <utility>

#include <stdlib.h>

#include "base/error.h"
#include "base/stopwatch.h"
#include "format/artifact_files.h"
#include "io/file.h"
#include "swarm/check_files.h"
#include "swarm/describe.h"
#include "swarm/swarm_process.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr std::uint8_t kManifestPriority = 7;
constexpr std::uint8_t kProbePriority = 1;
constexpr std::chrono::seconds kProbeAfter(1);

class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (fs::temp_directory_path() / "doppler-peers-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      Throw("cannot make the folder '{}': {}", name, std::strerror(errno));
    }
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// How fast bytes came from one peer: from the last look without more to the one at which there were
// last more.
class PeerRate {
 public:
  void Add(std::uint64_t total, Clock::time_point now) {
    if (!seen_) first_ = last_ = total;
    if (total > last_) {
      if (last_ == first_) begin_ = *seen_;
      end_ = now;
      last_ = total;
    }
    seen_ = now;
  }
  std::optional<double> PerSecond() const {
    if (last_ == first_) return std::nullopt;
    return static_cast<double>(last_ - first_) / SecondsBetween(begin_, end_);
  }

 private:
  std::uint64_t first_ = 0;
  std::uint64_t last_ = 0;
  std::optional<Clock::time_point> seen_;
  Clock::time_point begin_;
  Clock::time_point end_;
};

class Survey {
 public:
  Survey(const SurveyOptions& options, const std::function<void(const StatusMessage&)>& on_wait)
      : options_(options), on_wait_(on_wait), reach_(options.reach), torrent_(options.torrent) {}

  Inventory Run() {
    if (!torrent_) Describe();
    RequireMember(reach_.TeamOrNull(), torrent_->authority, torrent_->name);
    if (!options_.folder.empty()) {
      manifest_ = options_.manifest;
      experts_ = ExpertsOf(*torrent_, *manifest_);
    }
    Listen();
    if (!manifest_) {
      Throw(
          "the manifest has not come in {:g} s from {} peers; name a peer with --peer, or wait "
          "longer with --wait",
          options_.seconds, current_.size());
    }
    return CountHolders(*torrent_, std::move(experts_), Holders());
  }

 private:
  void Describe();
  void Listen();
  void Take(const Message& message);
  void TakePeers(const PeersMessage& message);
  void TakeManifest();
  void Probe(SwarmProcess& swarm);
  std::vector<Holder> PeersNow() const;
  std::vector<Holder> Holders() const;
  PeerState Here() const;

  const SurveyOptions& options_;
  const std::function<void(const StatusMessage&)>& on_wait_;
  SwarmReach reach_;
  std::optional<Torrent> torrent_;
  std::optional<Manifest> manifest_;
  std::vector<ExpertHolders> experts_;
  const ScratchFolder scratch_;
  std::vector<PeerState> coming_;   // of a list that is not complete
  std::vector<PeerState> current_;  // the last list
  std::map<PeerAddress, PeerRate> rates_;
  bool probed_ = false;
  StatusMessage status_;
};

void Survey::Describe() {
  const Clock::time_point begin = Clock::now();
  Description description =
      FetchDescription(options_.info_hash, reach_, [&](const StatusMessage& status) {
        on_wait_(status);
        if (SecondsBetween(begin, Clock::now()) < options_.seconds) return;
        Throw(
            "nobody has told of the model in {:g} s; name a peer with --peer, or wait longer "
            "with --wait",
            options_.seconds);
      });
  torrent_ = std::move(description.torrent);
  reach_.peers.insert(reach_.peers.end(), description.peers.begin(), description.peers.end());
}

void Survey::Listen() {
  StartMessage start = StartFor(reach_);
  start.task = StartMessage::Task::kOnDemand;
  start.folder = scratch_.path();
  start.manifest_file = kManifestFile;
  start.torrent = WriteTorrent(*torrent_);
  start.info_hash = options_.info_hash;
  start.have.assign((PieceCount(*torrent_) + 7) / 8, 0);
  start.serve = false;
  start.watch = true;
  SwarmProcess swarm(start);
  if (!manifest_) {
    swarm.Send(WantFileMessage{.file = static_cast<std::uint32_t>(torrent_->IndexOf(kManifestFile)),
                               .priority = kManifestPriority});
  }
  const Clock::time_point begin = Clock::now();
  while (SecondsBetween(begin, Clock::now()) < options_.seconds) {
    on_wait_(status_);
    if (const auto message = swarm.Receive(kLookInterval)) Take(*message);
    if (manifest_ && !probed_ && Clock::now() - begin > kProbeAfter) Probe(swarm);
  }
  swarm.Stop([&](const Message& message) {
    if (const auto* peers = std::get_if<PeersMessage>(&message)) TakePeers(*peers);
  });
}

void Survey::Take(const Message& message) {
  if (const auto* peers = std::get_if<PeersMessage>(&message)) {
    TakePeers(*peers);
  } else if (const auto* status = std::get_if<StatusMessage>(&message)) {
    status_ = *status;
  } else if (const auto* file = std::get_if<FileMessage>(&message)) {
    if (!manifest_ && file->file == torrent_->IndexOf(kManifestFile)) TakeManifest();
  }
}

void Survey::TakePeers(const PeersMessage& message) {
  for (const PeerState& peer : message.peers) {
    if (!peer.pieces.empty() && peer.pieces.size() != (PieceCount(*torrent_) + 7) / 8) {
      throw SwarmEndedError("the swarm process told of pieces that the model does not have");
    }
    rates_[peer.address].Add(peer.downloaded, Clock::now());
    coming_.push_back(peer);
  }
  if (!message.more) current_ = std::exchange(coming_, {});
}

void Survey::TakeManifest() {
  TorrentFile& file = torrent_->files[torrent_->IndexOf(kManifestFile)];
  const fs::path path = scratch_.path() / kManifestFile;
  if (!CheckFile(path, file, [](Bytes) {}).whole) {
    throw SwarmEndedError("the swarm process left the manifest damaged");
  }
  manifest_ = ParseManifest(ReadTextFile(path), path.string());
  experts_ = ExpertsOf(*torrent_, *manifest_);
}

// By chance, so that peers who have different experts are asked alike.
void Survey::Probe(SwarmProcess& swarm) {
  probed_ = true;
  rates_.clear();
  std::vector<ExpertHolders> experts = CountHolders(*torrent_, experts_, PeersNow()).experts;
  std::shuffle(experts.begin(), experts.end(), std::mt19937(std::random_device()()));
  Bytes asked = 0;
  for (const ExpertHolders& expert : experts) {
    if (asked >= options_.probe) return;
    if (expert.holders == 0) continue;
    const std::size_t file = torrent_->IndexOf(expert.file);
    asked += torrent_->files[file].size;
    swarm.Send(
        WantFileMessage{.file = static_cast<std::uint32_t>(file), .priority = kProbePriority});
  }
}

std::vector<Holder> Survey::PeersNow() const {
  std::vector<Holder> holders;
  for (const PeerState& peer : current_) holders.push_back({.peer = peer, .rate = {}});
  return holders;
}

std::vector<Holder> Survey::Holders() const {
  std::vector<Holder> holders = PeersNow();
  for (Holder& holder : holders) {
    const auto rate = rates_.find(holder.peer.address);
    if (options_.probe > 0 && rate != rates_.end()) holder.rate = rate->second.PerSecond();
    holder.peer.client = PlainClientName(holder.peer.client);
  }
  if (!options_.folder.empty()) holders.insert(holders.begin(), {.peer = Here(), .rate = {}});
  return holders;
}

PeerState Survey::Here() const {
  std::vector<FileCheck> checks;
  for (const TorrentFile& file : torrent_->files) {
    std::error_code error;
    const bool there = fs::file_size(options_.folder / file.path, error) == file.size && !error;
    checks.push_back({.pieces = std::vector<bool>(PieceCount(file), there), .leaves = {}});
  }
  return {.address = {}, .client = "doppler", .pieces = HaveBits(checks)};
}

}  // namespace

Inventory SurveyPeers(const SurveyOptions& options,
                      const std::function<void(const StatusMessage&)>& on_wait) {
  return Survey(options, on_wait).Run();
}

}  // namespace doppler
