// Where shards come from that are not on disk.
//
//   Request(shard) -> its file arrives in the artifact's folder -> Has(shard) -> the listener is
//   told -> a lease keeps it there while it is read
//
// Only shards of single experts can be missing. Whoever reads a file verifies its bytes as always.
// A source that may fill only so much of the disk removes shards again that nobody leases, the one
// of lowest rank first.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/ids.h"

namespace doppler {

enum class ShardUrgency : std::uint8_t {
  kSoon,  // may be wanted: comes behind all others
  kNow,   // somebody waits for it
};

class ShardSource {
 public:
  // `problem` is empty when the shard is there; else it says why it does not come, for an Error.
  using Listener = std::function<void(ShardId shard, const std::string& problem)>;
  // Gives each shard of an expert its rank ([ShardId]): the lowest goes first.
  using Ranks = std::function<void(std::span<double> ranks)>;
  using OnGone = std::function<void(ShardId shard)>;

  virtual ~ShardSource() = default;

  // Whether the file is in the folder, whole. Any thread; does not wait.
  virtual bool Has(ShardId shard) const = 0;

  // If the shard is in the folder, keeps it there until EndLease, and says whether it is. Leases
  // are counted. Any thread; does not wait or allocate. See ShardLease.
  virtual bool Lease(ShardId shard) = 0;
  virtual void EndLease(ShardId shard) = 0;

  // Asks for a shard. Of each one asked for with kNow that is not there, the listener is told once:
  // that it came, or that it does not. Asking again after that tries again. Any thread; does not
  // wait, allocate or call the listener.
  virtual void Request(ShardId shard, ShardUrgency urgency) = 0;

  // Bytes of it that were read from the folder did not have their hash. Any thread; does not wait.
  virtual void Damaged(ShardId shard) = 0;

  // Who is told, from a thread of the source. Returns when the one before is not being called any
  // more. The listener may call Has and Request.
  virtual void SetListener(Listener listener) = 0;

  // The bytes of expert shards that the folder may hold; nothing: all of them.
  virtual std::optional<Bytes> DiskBudget() const = 0;
  // Who knows which shards may go. Without ranks none goes. Returns when the one before is not
  // being called any more.
  virtual void SetRanks(Ranks ranks) = 0;
  // Who is told, from a thread of the source, before a file is removed that nobody leases. Returns
  // as SetRanks.
  virtual void SetOnGone(OnGone on_gone) = 0;

  // What it may take of this process's memory for its work, beside what it holds all the time: for
  // the plan.
  virtual Bytes WorkingBytes() const = 0;
};

// Keeps a shard on disk. Move-only; ends when it is destroyed or assigned over.
class ShardLease {
 public:
  // Of a shard that stays anyway.
  ShardLease() = default;
  ~ShardLease() { End(); }
  ShardLease(ShardLease&& other) noexcept
      : source_(std::exchange(other.source_, nullptr)), shard_(other.shard_) {}
  ShardLease& operator=(ShardLease&& other) noexcept {
    if (this == &other) return *this;
    End();
    source_ = std::exchange(other.source_, nullptr);
    shard_ = other.shard_;
    return *this;
  }
  ShardLease(const ShardLease&) = delete;
  ShardLease& operator=(const ShardLease&) = delete;

  // Nothing if the source does not have the shard.
  static std::optional<ShardLease> Of(ShardSource& source, ShardId shard) {
    if (!source.Lease(shard)) return std::nullopt;
    ShardLease lease;
    lease.source_ = &source;
    lease.shard_ = shard;
    return lease;
  }

 private:
  void End() {
    if (source_ != nullptr) source_->EndLease(shard_);
    source_ = nullptr;
  }

  ShardSource* source_ = nullptr;
  ShardId shard_;
};

}  // namespace doppler
