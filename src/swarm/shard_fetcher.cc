#include "swarm/shard_fetcher.h"

#include <algorithm>
#include <utility>

#include <poll.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "format/artifact_files.h"
#include "swarm/artifact_torrent.h"
#include "swarm/notices.h"
#include "swarm/sidecars.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr int kMostFetchRestarts = 5;
constexpr std::uint8_t kSoonPriority = 1;

// Of what somebody waits for, while so many are waited for that were asked for before. Two files
// come at a time, so that one that is there is hashed and read while the next ones come, and so
// that those that are computed first come first.
std::uint8_t NowPriority(int ahead) {
  constexpr int kTogether = 2;
  constexpr int kMost = 7;
  return static_cast<std::uint8_t>(std::max(kSoonPriority + 1, kMost - ahead / kTogether));
}

Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// An expert that has come is hashed while those who compute wait for it.
constexpr int kHashThreads = 2;

}  // namespace

ShardFetcher::ShardFetcher(const ShardFetcherOptions& options, const ShardFetcherEvents& events)
    : options_(options),
      events_(events),
      lock_(options.folder),
      torrent_(DescribeArtifact(options.folder, options.reach.Authority(), manifest_)),
      info_hash_(InfoHash(torrent_)),
      hashers_(kHashThreads),
      last_news_(Clock::now()) {
  RequireMember(options_.reach.TeamOrNull(), torrent_.authority, torrent_.name);
  TakeCachedLayers(options_.folder, torrent_);
  Check();
  thread_ = std::thread([this] { Run(); });
}

ShardFetcher::~ShardFetcher() {
  stop_ = true;
  wishes_->Wake();
  thread_.join();
}

void ShardFetcher::Check() {
  checks_ = CheckChangedFiles(options_.folder, torrent_, ReadChecked(options_.folder),
                              options_.threads, [&](Bytes done, Bytes total) {
                                stats_.bytes_checked = done;
                                events_.checking(done, total);
                              });
  shard_of_.resize(torrent_.files.size());
  std::vector<bool> has;
  for (std::size_t i = 0; i < manifest_.shards.size(); ++i) {
    const ShardEntry& shard = manifest_.shards[i];
    file_of_.push_back(torrent_.IndexOf(shard.file));
    if (shard.type == ShardType::kExpert) shard_of_[file_of_.back()] = ShardId(i);
    CutToSize(options_.folder / shard.file, shard.size);
    has.push_back(checks_[file_of_.back()].whole);
  }
  for (std::size_t file = 0; file < checks_.size(); ++file) {
    if (checks_[file].whole || shard_of_[file]) continue;
    Throw("'{}' is missing or damaged; 'doppler pull' with the model's link mends it",
          (options_.folder / torrent_.files[file].path).string());
  }
  wishes_ = std::make_unique<ShardWishes>(has);
  std::vector<Bytes> sizes;
  for (const ShardEntry& shard : manifest_.shards) {
    sizes.push_back(shard.type == ShardType::kExpert ? shard.size : 0);
  }
  disk_ = std::make_unique<DiskCache>(options_.disk_budget, std::move(sizes), *wishes_);
  for (std::size_t i = 0; i < manifest_.shards.size(); ++i) {
    if (fs::exists(options_.folder / manifest_.shards[i].file)) disk_->Found(ShardId(i));
  }
  if (stats_.bytes_checked > 0) KeepChecked();
}

void ShardFetcher::SetRanks(Ranks ranks) {
  {
    const std::lock_guard lock(listener_mutex_);
    ranks_ = std::move(ranks);
  }
  wishes_->Wake();
}

void ShardFetcher::SetOnGone(OnGone on_gone) {
  const std::lock_guard lock(listener_mutex_);
  on_gone_ = std::move(on_gone);
}

void ShardFetcher::SetListener(Listener listener) {
  const std::lock_guard lock(listener_mutex_);
  listener_ = std::move(listener);
}

// Most of all when a swarm process is started: the torrent's text on its way, and the bytes of a
// file that is hashed.
Bytes ShardFetcher::WorkingBytes() const {
  constexpr Bytes kHashing = 3 * kMiB;
  constexpr Bytes kCopies = 4;
  constexpr Bytes kFileBytes = 256;  // in the torrent's text, without the layer
  const Bytes text = torrent_.files.size() * kFileBytes + PieceCount(torrent_) * sizeof(Digest);
  return kHashing + kCopies * text;
}

void ShardFetcher::Tell(ShardId shard, const std::string& problem) {
  const std::lock_guard lock(listener_mutex_);
  if (listener_) listener_(shard, problem);
}

ShardFetcherStats ShardFetcher::stats() const {
  const std::lock_guard lock(stats_mutex_);
  ShardFetcherStats stats = stats_;
  stats.waiting_seconds = wishes_->WaitingSeconds();
  stats.downloaded += status_.downloaded;
  stats.uploaded += status_.uploaded;
  stats.failed_pieces += status_.failed_pieces;
  return stats;
}

void ShardFetcher::Run() {
  while (!stop_) {
    try {
      CheckAgain();
      Exchange();
    } catch (const SwarmEndedError& error) {
      {
        const std::lock_guard lock(stats_mutex_);
        ++stats_.restarts;
      }
      if (++restarts_without_news_ > kMostFetchRestarts) {
        Rest(error.what());
      } else {
        events_.notice(fmt::format("{}; starting another", error.what()));
      }
    } catch (const std::exception& error) {
      Rest(error.what());
    }
    TakeStatus({});
  }
}

// No swarm process can do what is wanted now: that fails, and the next wish tries again.
void ShardFetcher::Rest(const std::string& problem) {
  restarts_without_news_ = 0;
  wishes_->TakeNew();
  for (const ShardId shard : wishes_->Expire(Clock::time_point::max())) Fail(shard, problem);
  pollfd wanted = {wishes_->wake(), POLLIN, 0};
  while (!stop_ && ::poll(&wanted, 1, -1) <= 0) {
  }
}

// What a swarm process that is gone has left of the files that are wanted. Nobody serves those that
// were to go.
void ShardFetcher::CheckAgain() {
  RemoveGoing();
  for (const ShardWishes::Wish& wish : wishes_->All()) {
    const std::size_t index = file_of_[wish.shard.index()];
    TorrentFile& file = torrent_.files[index];
    checks_[index] = CheckFile(options_.folder / file.path, file, hashers_);
    checks_[index].leaves = {};
    if (checks_[index].whole) Came(wish.shard);
  }
}

StartMessage ShardFetcher::Start() const {
  StartMessage start = StartFor(options_.reach);
  start.task = StartMessage::Task::kOnDemand;
  start.folder = fs::absolute(options_.folder).lexically_normal();
  start.manifest_file = kManifestFile;
  start.torrent = WriteTorrent(torrent_);
  start.info_hash = info_hash_;
  start.have = HaveBits(checks_);
  start.serve = options_.serve;
  start.idle_milliseconds = static_cast<std::uint32_t>(options_.idle.count());
  return start;
}

void ShardFetcher::Exchange() {
  SwarmProcess swarm(Start());
  wishes_->TakeNew();
  SendWishes(swarm, wishes_->All());
  MakeRoom(swarm);
  while (!stop_) {
    if (const std::optional<Message> message = swarm.Receive(kLookInterval, wishes_->wake())) {
      Take(*message);
    }
    SendWishes(swarm, wishes_->TakeNew());
    MakeRoom(swarm);
    DropDamaged();
    FailLate();
  }
  swarm.Stop([this](const Message& message) {
    if (const auto* status = std::get_if<StatusMessage>(&message)) TakeStatus(*status);
    if (const auto* layer = std::get_if<LayerMessage>(&message))
      TakeLayer(torrent_, layer->file, layer->layer);
  });
  Keep();
}

void ShardFetcher::SendWishes(SwarmProcess& swarm, const std::vector<ShardWishes::Wish>& wishes) {
  for (const ShardWishes::Wish& wish : disk_->Admit(wishes)) {
    const bool now = wish.urgency == ShardUrgency::kNow;
    swarm.Send(WantFileMessage{
        .file = static_cast<std::uint32_t>(file_of_[wish.shard.index()]),
        .priority = now ? NowPriority(wishes_->AskedBefore(wish.shard)) : kSoonPriority});
  }
}

void ShardFetcher::MakeRoom(SwarmProcess& swarm) {
  if (!disk_->NeedsRoom()) return;
  std::vector<double> ranks(manifest_.shards.size());
  {
    const std::lock_guard lock(listener_mutex_);
    if (!ranks_) return;
    ranks_(ranks);
  }
  ForgetMessage message;
  for (const ShardId shard : disk_->Choose(ranks)) {
    message.files.push_back(static_cast<std::uint32_t>(file_of_[shard.index()]));
  }
  if (!message.files.empty()) swarm.Send(message);
}

void ShardFetcher::RemoveGoing() {
  for (const ShardId shard : disk_->going()) {
    {
      const std::lock_guard lock(listener_mutex_);
      if (on_gone_) on_gone_(shard);
    }
    const std::size_t file = file_of_[shard.index()];
    const fs::path path = options_.folder / torrent_.files[file].path;
    std::error_code error;
    fs::remove(path, error);
    if (error) Throw("cannot remove '{}': {}", path.string(), error.message());
    const bool whole = checks_[file].whole;
    checks_[file] = {.pieces = std::vector<bool>(PieceCount(torrent_.files[file])), .leaves = {}};
    if (!whole) continue;
    const std::lock_guard lock(stats_mutex_);
    ++stats_.evicted;
    stats_.bytes_evicted += manifest_.shards[shard.index()].size;
  }
  disk_->Gone();
}

void ShardFetcher::Take(const Message& message) {
  if (const auto* status = std::get_if<StatusMessage>(&message)) {
    if (status->verified_pieces > status_.verified_pieces) last_news_ = Clock::now();
    TakeStatus(*status);
  } else if (const auto* file = std::get_if<FileMessage>(&message)) {
    Arrived(file->file);
  } else if (const auto* layer = std::get_if<LayerMessage>(&message)) {
    TakeLayer(torrent_, layer->file, layer->layer);
  } else if (const auto* banned = std::get_if<BannedMessage>(&message)) {
    {
      const std::lock_guard lock(stats_mutex_);
      ++stats_.banned;
    }
    events_.notice(BannedNotice(*banned));
  } else if (const auto* pardoned = std::get_if<PardonedMessage>(&message)) {
    {
      const std::lock_guard lock(stats_mutex_);
      ++stats_.pardoned;
    }
    events_.notice(PardonedNotice(*pardoned));
  } else if (std::holds_alternative<ForgottenMessage>(message)) {
    RemoveGoing();
  } else if (const auto* ready = std::get_if<ReadyMessage>(&message)) {
    if (!ready->confined && !std::exchange(told_unconfined_, true)) {
      events_.notice(std::string(kUnconfinedNotice));
    }
  }
}

// What a swarm process counts begins at 0: what one that has ended said last is added up.
void ShardFetcher::TakeStatus(const StatusMessage& status) {
  const std::lock_guard lock(stats_mutex_);
  if (status.downloaded < status_.downloaded || status.uploaded < status_.uploaded) {
    stats_.downloaded += status_.downloaded;
    stats_.uploaded += status_.uploaded;
    stats_.failed_pieces += status_.failed_pieces;
  }
  status_ = status;
}

void ShardFetcher::Arrived(std::uint32_t index) {
  if (index >= checks_.size()) throw SwarmEndedError("the swarm process named no file");
  if (!shard_of_[index] || checks_[index].whole || !disk_->Holds(*shard_of_[index])) return;
  TorrentFile& file = torrent_.files[index];
  checks_[index] = CheckFile(options_.folder / file.path, file, hashers_);
  checks_[index].leaves = {};
  if (!checks_[index].whole) {
    throw SwarmEndedError(fmt::format("the swarm process left '{}' damaged", file.path));
  }
  Came(*shard_of_[index]);
}

void ShardFetcher::Came(ShardId shard) {
  last_news_ = Clock::now();
  restarts_without_news_ = 0;
  const ShardWishes::Arrival arrival = wishes_->Came(shard);
  {
    const std::lock_guard lock(stats_mutex_);
    ++stats_.experts;
    stats_.bytes += manifest_.shards[shard.index()].size;
    if (arrival.demanded) {
      ++stats_.demanded;
      stats_.page_ins.Add(arrival.seconds);
    }
  }
  Tell(shard, {});
}

void ShardFetcher::FailLate() {
  if (Interrupted()) {
    for (const ShardId shard : wishes_->Expire(Clock::time_point::max())) {
      Fail(shard, InterruptedError().what());
    }
    return;
  }
  const Clock::time_point now = Clock::now();
  const Clock::duration timeout = Seconds(options_.timeout_seconds);
  if (now - last_news_ < timeout) return;
  for (const ShardId shard : wishes_->Expire(now - timeout)) {
    Fail(shard,
         fmt::format("{} does not come from the swarm: nothing has come for {:.0f} s from {} "
                     "peers; name a peer that has it with --peer, or wait longer with "
                     "--swarm-timeout; what is here stays",
                     NameOf(shard), options_.timeout_seconds, status_.peers));
  }
}

void ShardFetcher::Fail(ShardId shard, const std::string& problem) {
  {
    const std::lock_guard lock(stats_mutex_);
    ++stats_.late;
  }
  Tell(shard, problem);
}

// "expert 3 of layer 2 (shards/00012.bin)"
std::string ShardFetcher::NameOf(ShardId id) const {
  const ShardEntry& shard = manifest_.shards[id.index()];
  if (shard.type != ShardType::kExpert) return shard.file;
  const ExpertPlace place = PlaceOfExpert(shard);
  return fmt::format("expert {} of layer {} ({})", place.expert, place.layer, shard.file);
}

void ShardFetcher::Damaged(ShardId shard) {
  {
    const std::lock_guard lock(damaged_mutex_);
    damaged_.push_back(shard);
  }
  wishes_->Wake();
}

// The next start hashes it, and it is fetched again; until then every read of it fails.
void ShardFetcher::DropDamaged() {
  std::vector<ShardId> damaged;
  {
    const std::lock_guard lock(damaged_mutex_);
    damaged.swap(damaged_);
  }
  if (damaged.empty()) return;
  for (const ShardId shard : damaged) checks_[file_of_[shard.index()]].stamp.reset();
  KeepChecked();
}

void ShardFetcher::KeepChecked() {
  try {
    // A file whose layer is not known is hashed in any case.
    WriteTorrentCache(options_.folder, torrent_);
    WriteChecked(options_.folder, CheckedOf(torrent_, checks_));
  } catch (const Error& error) {
    events_.notice(fmt::format("{}; files are hashed again next time", error.what()));
  }
}

// What makes the next start finer and cheaper.
void ShardFetcher::Keep() {
  DropDamaged();
  KeepChecked();
  try {
    if (!fs::exists(options_.folder / kNodesFile)) WriteNodes(options_.folder, manifest_, torrent_);
  } catch (const Error& error) {
    events_.notice(error.what());
  }
}

}  // namespace doppler
