// Fetches experts from the swarm while a model runs, as they are asked for, and serves what is
// here.
//
//   Request -> the swarm process, all peers -> the file, hashed by us -> the listener
//
// The artifact's manifest, tokenizer and dense shards are here before (pull.h). Files on disk are
// hashed at the start, unless they are as they were when they last were (checked_files.h). With a
// budget for the disk, experts that are cold are removed again:
//
//   DiskCache chooses -> no reader can lease it -> the swarm process serves it no more -> removed
//
// A process that is killed between two of these steps leaves a file that is whole or none.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/time_counts.h"
#include "format/manifest.h"
#include "io/folder_lock.h"
#include "swarm/check_files.h"
#include "swarm/disk_cache.h"
#include "swarm/messages.h"
#include "swarm/reach.h"
#include "swarm/shard_wishes.h"
#include "swarm/swarm_process.h"
#include "swarm/torrent.h"

namespace doppler {

struct ShardFetcherOptions {
  std::filesystem::path folder;
  SwarmReach reach;
  bool serve = true;
  double timeout_seconds = 30;  // without a verified piece, after which a wish fails
  // Of the shards of experts in the folder, whole or not; nothing: no bound.
  std::optional<Bytes> disk_budget;
  int threads = 1;  // for hashing at the start
  // After which connections that were used are made anew: longer than pauses between tokens and
  // their experts, shorter than those of a reader.
  std::chrono::milliseconds idle{5000};
};

struct ShardFetcherEvents {
  std::function<void(Bytes done, Bytes total)> checking;
  // Something that its user should know; from the fetcher's thread.
  std::function<void(const std::string&)> notice;
};

struct ShardFetcherStats {
  std::uint64_t experts = 0;   // shards that came
  Bytes bytes = 0;             // of these
  std::uint64_t demanded = 0;  // of these, somebody waited for
  TimeCounts page_ins;         // of the demanded, from the request to the file that was verified
  double waiting_seconds = 0;  // in which somebody waited for any
  std::uint64_t late = 0;      // requests that failed
  std::uint64_t evicted = 0;   // shards that were removed from the disk
  Bytes bytes_evicted = 0;     // of these
  std::uint64_t failed_pieces = 0;
  std::uint64_t banned = 0;      // peers
  std::uint64_t pardoned = 0;    // of those that libtorrent has banned, called again
  std::uint64_t downloaded = 0;  // bytes of files, with those that were refused
  std::uint64_t uploaded = 0;
  std::uint64_t restarts = 0;  // of the swarm process
  Bytes bytes_checked = 0;     // that were hashed at the start
};

class ShardFetcher final : public ShardSource {
 public:
  // Hashes what is new in the folder and begins. Throws Error if the folder is not an artifact, if
  // any but an expert is missing or damaged, or if another process fetches into it.
  ShardFetcher(const ShardFetcherOptions& options, const ShardFetcherEvents& events);
  // Ends the swarm process.
  ~ShardFetcher() override;
  ShardFetcher(const ShardFetcher&) = delete;
  ShardFetcher& operator=(const ShardFetcher&) = delete;

  bool Has(ShardId shard) const override { return wishes_->Has(shard); }
  bool Lease(ShardId shard) override { return wishes_->Lease(shard); }
  void EndLease(ShardId shard) override { wishes_->EndLease(shard); }
  void Request(ShardId shard, ShardUrgency urgency) override { wishes_->Request(shard, urgency); }
  void Damaged(ShardId shard) override;
  void SetListener(Listener listener) override;
  std::optional<Bytes> DiskBudget() const override { return options_.disk_budget; }
  void SetRanks(Ranks ranks) override;
  void SetOnGone(OnGone on_gone) override;
  Bytes WorkingBytes() const override;

  // Any thread.
  ShardFetcherStats stats() const;

 private:
  void Check();
  void Run();
  void Rest(const std::string& problem);
  void CheckAgain();
  void Exchange();
  void SendWishes(SwarmProcess& swarm, const std::vector<ShardWishes::Wish>& wishes);
  void MakeRoom(SwarmProcess& swarm);
  void RemoveGoing();
  void Take(const Message& message);
  void TakeStatus(const StatusMessage& status);
  void Arrived(std::uint32_t file);
  void Came(ShardId shard);
  void FailLate();
  void Fail(ShardId shard, const std::string& problem);
  void Tell(ShardId shard, const std::string& problem);
  void Keep();
  void KeepChecked();
  void DropDamaged();
  StartMessage Start() const;
  std::string NameOf(ShardId shard) const;

  const ShardFetcherOptions options_;
  const ShardFetcherEvents events_;
  const FolderLock lock_;
  Manifest manifest_;
  Torrent torrent_;
  Digest info_hash_{};
  std::vector<std::size_t> file_of_;              // [ShardId], in the torrent
  std::vector<std::optional<ShardId>> shard_of_;  // [file of the torrent]; experts only
  std::vector<FileCheck> checks_;                 // [file of the torrent]
  ThreadPool hashers_;
  std::unique_ptr<ShardWishes> wishes_;
  std::unique_ptr<DiskCache> disk_;
  int restarts_without_news_ = 0;
  bool told_unconfined_ = false;
  Clock::time_point last_news_;
  StatusMessage status_;  // of the swarm process that runs

  std::mutex listener_mutex_;
  Listener listener_;
  Ranks ranks_;     // guarded by listener_mutex_
  OnGone on_gone_;  // likewise
  mutable std::mutex stats_mutex_;
  ShardFetcherStats stats_;  // without status_
  std::mutex damaged_mutex_;
  std::vector<ShardId> damaged_;  // that the record does not know of yet
  std::atomic<bool> stop_{false};
  std::thread thread_;  // last: uses all of the above
};

}  // namespace doppler
