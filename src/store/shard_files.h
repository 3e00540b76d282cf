// The files of an artifact's shards, open as far as the process's limit of open files lets them be.
//
// Where the limit holds all of them, all stay open. Where it does not, the shards of single experts
// are opened when they are read, and the one whose last read is longest ago is closed to make room;
// all other shards stay open. Where a source has shards that are not here yet (shard_source.h),
// those of single experts are opened on demand too.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <list>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "format/manifest.h"
#include "io/file.h"
#include "store/shard_source.h"

namespace doppler {

// What a process opens beside shards: standard streams, libraries, rings, leaf files, reports.
inline constexpr std::size_t kOtherFiles = 64;
// Expert shards that can be open at once wherever they are opened on demand: more than all reads on
// their way pin, so that a read never waits for another.
inline constexpr std::size_t kLeastExpertFiles = 40;

// How many expert shards a process that may open `limit` files can have open at once: all, or as
// many as the other shards leave room for. Throws Error that names the limit that would do.
std::size_t MostExpertFiles(std::span<const ShardEntry> shards, std::size_t limit);

class ShardFiles;

// Keeps a shard open to be read. Move-only; ends when it is destroyed, assigned over or released.
class ShardPin {
 public:
  ShardPin() = default;
  ~ShardPin() { Release(); }
  ShardPin(ShardPin&& other) noexcept;
  ShardPin& operator=(ShardPin&& other) noexcept;
  ShardPin(const ShardPin&) = delete;
  ShardPin& operator=(const ShardPin&) = delete;

  // 0, or the errno value with which opening the file failed.
  int error() const { return error_; }
  // REQUIRES: error() is 0.
  const File& file() const { return *file_; }
  void Release();

 private:
  friend class ShardFiles;

  ShardFiles* pool_ = nullptr;  // null where the file stays open anyway
  ShardId shard_;
  const File* file_ = nullptr;
  int error_ = 0;
};

struct ShardFileStats {
  std::uint64_t opens = 0;      // on demand
  std::uint64_t evictions = 0;  // files that were closed for another
};

// Any thread. The pins end before it does.
class ShardFiles {
 public:
  // Opens every shard once, without the page cache, and compares its size with the manifest's; at
  // most `most_expert_files` of type expert are open at once from then on. Expert shards that
  // `source` does not have yet are left out; it outlives this. Throws Error.
  // REQUIRES: most_expert_files > 0, unless there are no expert shards.
  ShardFiles(const std::filesystem::path& folder, std::span<const ShardEntry> shards,
             std::size_t most_expert_files, ShardSource* source = nullptr);
  ~ShardFiles();
  ShardFiles(const ShardFiles&) = delete;
  ShardFiles& operator=(const ShardFiles&) = delete;

  // Opens the shard if it is closed, and keeps it open. Waits while as many expert shards as may be
  // open are pinned. The pin says if the file cannot be opened. Does not allocate.
  ShardPin Pin(ShardId shard);

  // What it means that a shard could not be opened or read (an errno value or kReadPastEnd), and
  // what to do: for an Error.
  std::string ReadProblem(ShardId shard, int error) const;

  const std::filesystem::path& path(ShardId shard) const { return files_[shard.index()].path(); }
  bool on_demand() const { return expert_shards_ > most_expert_files_ || source_ != nullptr; }
  // Null if all shards are here.
  ShardSource* source() const { return source_; }
  std::size_t expert_shards() const { return expert_shards_; }
  // How many of these are open at once at most.
  std::size_t most_expert_files() const { return std::min(expert_shards_, most_expert_files_); }
  // All files if all stay open, else none: what a reader may register.
  std::span<const File> always_open() const;
  ShardFileStats stats() const;

 private:
  friend class ShardPin;

  // Expert shards that are open and that nobody pins, the one to be closed first in front. An
  // expert shard's node is here or in `elsewhere_`; moving it between lists does not allocate.
  using Order = std::list<std::uint32_t>;
  struct Place {
    std::uint32_t pins = 0;
    Order::iterator node;
  };

  void Check(const ShardEntry& shard);
  bool ToCome(ShardId shard) const;
  bool IsPooled(ShardId shard) const { return on_demand() && is_expert_[shard.index()]; }
  void MakeRoom(std::unique_lock<std::mutex>& lock, const File& wanted);
  void Unpin(ShardId shard);
  void Forget(ShardId shard);

  const std::size_t most_expert_files_;
  ShardSource* const source_;
  std::size_t expert_shards_ = 0;
  std::vector<bool> is_expert_;  // [ShardId]

  mutable std::mutex mutex_;  // guards what follows where shards are opened on demand
  std::condition_variable room_;
  std::vector<File> files_;    // [ShardId]; what is not open has its path
  std::vector<Place> places_;  // [ShardId]; empty if all stay open
  std::size_t open_ = 0;       // expert shards
  Order idle_;
  Order elsewhere_;
  ShardFileStats stats_;
};

}  // namespace doppler
