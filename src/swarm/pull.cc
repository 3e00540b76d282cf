#include "swarm/pull.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/stopwatch.h"
#include "format/artifact_files.h"
#include "io/file.h"
#include "io/folder_lock.h"
#include "io/replace_file.h"
#include "swarm/artifact_torrent.h"
#include "swarm/check_files.h"
#include "swarm/checked_files.h"
#include "swarm/describe.h"
#include "swarm/expert_choice.h"
#include "swarm/fetched_mark.h"
#include "swarm/notices.h"
#include "swarm/sidecars.h"
#include "swarm/swarm_process.h"
#include "swarm/torrent_rules.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// How often what was learnt of hash trees is kept, and how much more time must pass than it takes.
constexpr std::chrono::seconds kSaveInterval(1);
constexpr int kSaveRestFactor = 50;
constexpr std::chrono::seconds kLonelyNotice(15);
constexpr int kMostPullRestarts = 5;
constexpr std::uint8_t kFirst = 7;
constexpr std::uint8_t kNeeded = 6;
constexpr std::uint8_t kExpert = 1;

class Pull {
 public:
  Pull(const PullOptions& options, const PullEvents& events)
      : options_(options),
        events_(events),
        reach_(options.reach),
        torrent_(options.torrent),
        last_news_(Clock::now()) {}

  PullReport Run() {
    Prepare();
    for (bool done = false; !done;) {
      try {
        if (!torrent_) Describe();
        Fetch();
        done = true;
      } catch (const SwarmEndedError& error) {
        ++report_.restarts;
        if (++restarts_without_news_ > kMostPullRestarts) throw;
        events_.notice(fmt::format("{}; starting another", error.what()));
      }
    }
    Complete();
    return std::move(report_);
  }

 private:
  void Prepare();
  void Describe();
  void Fetch();
  void Check();
  void CountStatus();
  std::string ManifestText() const;
  void ReadManifest();
  void ChooseFiles();
  void RequireSpace() const;
  void Exchange(SwarmProcess& swarm);
  void Take(const Message& message, SwarmProcess& swarm);
  void Arrived(std::uint32_t index, SwarmProcess& swarm);
  void Learn(const LayerMessage& message) {
    if (TakeLayer(*torrent_, message.file, message.layer)) new_layers_ = true;
  }
  void CheckTexts();
  void MakeLeaves(const ShardEntry& shard);
  void Publish();
  void Complete();
  void SaveLayers();
  void GiveUpIfLate() const;
  void Show(std::string_view stage);

  bool Done() const {
    if (!manifest_) return false;
    for (std::size_t i = 0; i < checks_.size(); ++i) {
      if (wanted_[i] > 0 && !checks_[i].whole) return false;
    }
    return true;
  }
  fs::path PathOf(const TorrentFile& file) const {
    return options_.folder / (file.path == kManifestFile ? manifest_file_ : file.path);
  }
  Bytes BytesOf(bool only_there) const;

  const PullOptions& options_;
  const PullEvents& events_;
  SwarmReach reach_;
  std::optional<FolderLock> lock_;
  std::optional<Torrent> torrent_;
  std::optional<Manifest> manifest_;
  std::string manifest_file_{kUnfinishedManifest};
  std::vector<FileCheck> checks_;     // [file of the torrent]
  std::vector<std::uint8_t> wanted_;  // [file of the torrent], as in WantMessage
  int restarts_without_news_ = 0;
  bool published_ = false;
  bool new_layers_ = false;
  bool told_unconfined_ = false;
  bool told_lonely_ = false;
  bool first_check_ = true;
  StatusMessage status_;
  Clock::time_point last_news_;
  Clock::time_point next_save_{};
  PullReport report_;
};

void Pull::Prepare() {
  std::error_code error;
  fs::create_directories(options_.folder / "shards", error);
  if (error) Throw("cannot create '{}': {}", options_.folder.string(), error.message());
  lock_.emplace(options_.folder);
  const std::optional<Torrent> cached = ReadTorrentCache(options_.folder, options_.info_hash);
  if (cached && torrent_) TakeLayers(*torrent_, *cached);
  if (cached && !torrent_) torrent_ = cached;
}

void Pull::Describe() {
  const auto on_wait = [this](const StatusMessage& status) {
    ThrowIfInterrupted();
    status_ = status;
    GiveUpIfLate();
    Show("looking for peers");
  };
  Description description = FetchDescription(options_.info_hash, reach_, on_wait);
  torrent_ = std::move(description.torrent);
  reach_.peers.insert(reach_.peers.end(), description.peers.begin(), description.peers.end());
  last_news_ = Clock::now();
}

void Pull::Fetch() {
  RequireMember(reach_.TeamOrNull(), torrent_->authority, torrent_->name);
  WriteTorrentCache(options_.folder, *torrent_);
  Check();
  last_news_ = Clock::now();
  if (Done()) return;
  StartMessage start = StartFor(reach_);
  start.task = StartMessage::Task::kFetch;
  start.folder = fs::absolute(options_.folder).lexically_normal();
  start.manifest_file = manifest_file_;
  start.torrent = WriteTorrent(*torrent_);
  start.info_hash = options_.info_hash;
  start.have = HaveBits(checks_);
  start.serve = options_.serve;
  SwarmProcess swarm(start);
  swarm.Send(WantMessage{wanted_});
  try {
    Exchange(swarm);
  } catch (const InterruptedError&) {
    // What it has learnt of hash trees makes the next check finer.
    swarm.Stop([&](const Message& message) {
      if (const auto* layer = std::get_if<LayerMessage>(&message)) Learn(*layer);
    });
    SaveLayers();
    throw;
  }
  swarm.Stop([this](const Message& message) {
    if (const auto* status = std::get_if<StatusMessage>(&message)) status_ = *status;
  });
}

void Pull::Exchange(SwarmProcess& swarm) {
  while (!Done()) {
    ThrowIfInterrupted();
    GiveUpIfLate();
    if (const std::optional<Message> message = swarm.Receive(kLookInterval)) Take(*message, swarm);
    if (new_layers_ && Clock::now() >= next_save_) SaveLayers();
    Show("fetching");
  }
}

void Pull::Check() {
  const fs::path manifest = options_.folder / kManifestFile;
  if (fs::exists(manifest)) manifest_file_ = kManifestFile;
  for (const TorrentFile& file : torrent_->files) {
    // A manifest that is longer is another model's, which is said below.
    if (file.path != kManifestFile) CutToSize(PathOf(file), file.size);
  }
  CountStatus();
  const Bytes total = BytesOnDisk(options_.folder, *torrent_);
  checks_ =
      CheckFiles(options_.folder, *torrent_, manifest_file_, options_.threads, [&](Bytes done) {
        events_.progress({.stage = "checking", .done = done, .total = total, .status = {}});
      });
  const std::size_t index = torrent_->IndexOf(kManifestFile);
  if (manifest_file_ == kManifestFile && !checks_[index].whole) {
    Throw("'{}' holds another model; choose another folder with --out, or remove it",
          options_.folder.string());
  }
  wanted_.assign(checks_.size(), 0);
  wanted_[index] = kFirst;
  if (checks_[index].whole) ReadManifest();
  if (std::exchange(first_check_, false)) {
    for (std::size_t i = 0; i < checks_.size(); ++i) {
      report_.found_bytes += BytesThere(torrent_->files[i], checks_[i]);
    }
  }
}

// Adds up what a swarm process that has ended said last.
void Pull::CountStatus() {
  const StatusMessage last = std::exchange(status_, {});
  report_.downloaded += last.downloaded;
  report_.uploaded += last.uploaded;
  report_.failed_pieces += last.failed_pieces;
}

// The bytes that are used are checked, and not only those that were on disk before.
std::string Pull::ManifestText() const {
  const TorrentFile& file = torrent_->files[torrent_->IndexOf(kManifestFile)];
  std::string text = ReadTextFile(PathOf(file));
  if (text.size() != file.size || MerkleRootOf(std::as_bytes(std::span(text))) != file.root) {
    Throw("'{}' changed while it was read", PathOf(file).string());
  }
  return text;
}

void Pull::ReadManifest() {
  manifest_ = ParseManifest(ManifestText(), "the manifest of this link");
  RequireSameShards(*torrent_, *manifest_);
  if (manifest_->model_id != torrent_->name) Throw("the torrent has another name than its model");
  ChooseFiles();
  RequireSpace();
  Publish();
}

void Pull::ChooseFiles() {
  std::vector<std::size_t> experts;
  std::vector<std::size_t> there;  // pieces
  wanted_.assign(checks_.size(), kNeeded);
  for (const ShardEntry& shard : manifest_->shards) {
    if (shard.type != ShardType::kExpert) continue;
    const std::size_t index = torrent_->IndexOf(shard.file);
    experts.push_back(index);
    const std::vector<bool>& pieces = checks_[index].pieces;
    there.push_back(static_cast<std::size_t>(std::count(pieces.begin(), pieces.end(), true)));
  }
  const std::vector<bool> chosen = ChooseExperts(there, options_.experts, std::random_device()());
  for (std::size_t i = 0; i < experts.size(); ++i) wanted_[experts[i]] = chosen[i] ? kExpert : 0;
  report_.experts = experts.size();
}

void Pull::RequireSpace() const {
  std::error_code error;
  const Bytes free = fs::space(options_.folder, error).available;
  Bytes missing = 0;
  for (std::size_t i = 0; i < checks_.size(); ++i) {
    const TorrentFile& file = torrent_->files[i];
    if (wanted_[i] > 0) missing += file.size - BytesThere(file, checks_[i]);
  }
  if (error || missing <= free) return;
  Throw("{} are to be fetched and the disk of '{}' has {}; ask for fewer --experts, or make room",
        FormatSize(missing), options_.folder.string(), FormatSize(free));
}

void Pull::Take(const Message& message, SwarmProcess& swarm) {
  if (const auto* status = std::get_if<StatusMessage>(&message)) {
    if (status->verified_pieces > status_.verified_pieces) last_news_ = Clock::now();
    status_ = *status;
  } else if (const auto* file = std::get_if<FileMessage>(&message)) {
    Arrived(file->file, swarm);
  } else if (const auto* layer = std::get_if<LayerMessage>(&message)) {
    Learn(*layer);
  } else if (const auto* banned = std::get_if<BannedMessage>(&message)) {
    report_.banned.push_back(banned->peer);
    events_.notice(BannedNotice(*banned));
  } else if (const auto* pardoned = std::get_if<PardonedMessage>(&message)) {
    report_.pardoned.push_back(pardoned->peer);
    events_.notice(PardonedNotice(*pardoned));
  } else if (const auto* ready = std::get_if<ReadyMessage>(&message)) {
    if (!ready->confined && !std::exchange(told_unconfined_, true)) {
      events_.notice(std::string(kUnconfinedNotice));
    }
  }
}

void Pull::Arrived(std::uint32_t index, SwarmProcess& swarm) {
  if (index >= checks_.size()) throw SwarmEndedError("the swarm process named no file");
  // Of what was here at the start libtorrent says so too.
  if (checks_[index].whole) return;
  last_news_ = Clock::now();
  TorrentFile& file = torrent_->files[index];
  checks_[index] = CheckFile(PathOf(file), file, [](Bytes) {});
  if (!checks_[index].whole) {
    throw SwarmEndedError(fmt::format("the swarm process left '{}' damaged", file.path));
  }
  // Leaves are kept as far as they will be written.
  if (wanted_[index] != kNeeded) checks_[index].leaves = {};
  restarts_without_news_ = 0;
  new_layers_ = true;
  if (file.path == kManifestFile) {
    ReadManifest();
    swarm.Send(WantMessage{wanted_});
  }
  if (manifest_) Publish();
}

// The only files that a run does not hash: checked once more when nobody else can write to them.
void Pull::CheckTexts() {
  for (TorrentFile& file : torrent_->files) {
    if (!IsTextPath(file.path)) continue;
    const fs::path path = options_.folder / file.path;
    const bool same = CheckFile(path, file, [](Bytes) {}).whole;
    if (!same || fs::file_size(path) != file.size) {
      Throw("'{}' was changed while the model was fetched; run the same command again",
            path.string());
    }
  }
}

void Pull::MakeLeaves(const ShardEntry& shard) {
  std::vector<Digest> leaves = std::exchange(checks_[torrent_->IndexOf(shard.file)].leaves, {});
  if (fs::exists(options_.folder / LeavesFileOf(shard))) return;
  if (leaves.empty()) {  // an earlier pull fetched it
    TorrentFile file = torrent_->files[torrent_->IndexOf(shard.file)];
    leaves = CheckFile(options_.folder / shard.file, file, [](Bytes) {}).leaves;
  }
  if (!leaves.empty() && MerkleRoot(leaves) == shard.hash)
    WriteLeaves(options_.folder, shard, leaves);
}

// Makes the folder an artifact, as soon as all but experts is there.
void Pull::Publish() {
  if (published_) return;
  for (std::size_t i = 0; i < checks_.size(); ++i) {
    if (wanted_[i] >= kNeeded && !checks_[i].whole) return;
  }
  for (const ShardEntry& shard : manifest_->shards) {
    if (shard.type != ShardType::kExpert) MakeLeaves(shard);
  }
  if (manifest_file_ != kManifestFile) {
    const std::string text = ManifestText();
    ReplaceFile(options_.folder / kManifestFile, std::as_bytes(std::span(text)));
  }
  published_ = true;
}

void Pull::Complete() {
  CountStatus();
  CheckTexts();
  if (!fs::exists(options_.folder / kNodesFile)) {
    WriteNodes(options_.folder, *manifest_, *torrent_);
  }
  WriteTorrentCache(options_.folder, *torrent_);
  WriteChecked(options_.folder, CheckedOf(*torrent_, checks_));
  fs::remove(options_.folder / kUnfinishedManifest);
  MarkFetched(options_.folder, options_.info_hash);
  SyncFolder(options_.folder);
  report_.name = torrent_->name;
  for (std::size_t i = 0; i < checks_.size(); ++i) {
    if (checks_[i].whole) report_.model_bytes += torrent_->files[i].size;
  }
  for (const ShardEntry& shard : manifest_->shards) {
    const bool expert = shard.type == ShardType::kExpert;
    if (expert && checks_[torrent_->IndexOf(shard.file)].whole) ++report_.experts_there;
  }
}

void Pull::SaveLayers() {
  const Clock::time_point begin = Clock::now();
  WriteTorrentCache(options_.folder, *torrent_);
  new_layers_ = false;
  const Clock::time_point end = Clock::now();
  next_save_ = end + std::max<Clock::duration>(kSaveInterval, kSaveRestFactor * (end - begin));
}

void Pull::GiveUpIfLate() const {
  if (options_.timeout_seconds <= 0) return;
  const std::chrono::duration<double> silent = Clock::now() - last_news_;
  if (silent.count() < options_.timeout_seconds) return;
  Throw(
      "nothing has come for {:.0f} s from {} peers; {}what is there stays, and the same command "
      "goes on",
      options_.timeout_seconds, status_.peers,
      status_.peers == 0 ? "name one that has the model with --peer, or wait longer; " : "");
}

void Pull::Show(std::string_view stage) {
  const bool lonely = status_.peers == 0 && Clock::now() - last_news_ > kLonelyNotice;
  if (lonely && !std::exchange(told_lonely_, true)) {
    events_.notice("no peer has this model so far; Ctrl-C ends the search");
  }
  const Bytes done = torrent_ ? std::max(BytesOf(true), status_.wanted_done) : 0;
  events_.progress(
      {.stage = stage, .done = done, .total = manifest_ ? BytesOf(false) : 0, .status = status_});
}

Bytes Pull::BytesOf(bool only_there) const {
  Bytes total = 0;
  for (std::size_t i = 0; i < checks_.size(); ++i) {
    const bool counts = wanted_[i] > 0 && (!only_there || checks_[i].whole);
    if (counts) total += torrent_->files[i].size;
  }
  return total;
}

}  // namespace

PullReport PullModel(const PullOptions& options, const PullEvents& events) {
  return Pull(options, events).Run();
}

}  // namespace doppler
