// Which shards are here and leased, and which are wanted: between those who ask and the thread that
// fetches.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/ids.h"
#include "base/stopwatch.h"
#include "store/shard_source.h"

namespace doppler {

// Any thread.
class ShardWishes {
 public:
  // `has`: [ShardId].
  explicit ShardWishes(const std::vector<bool>& has);
  ~ShardWishes();
  ShardWishes(const ShardWishes&) = delete;
  ShardWishes& operator=(const ShardWishes&) = delete;

  bool Has(ShardId shard) const { return leases_[shard.index()].load() != kAbsent; }
  // As ShardSource has them. An ended lease wakes if any is waited for.
  bool Lease(ShardId shard);
  void EndLease(ShardId shard);
  // Does not allocate. Of a shard that is here nothing is wanted.
  void Request(ShardId shard, ShardUrgency urgency);

  // A descriptor that can be read since the last TakeNew if there is something new, or Wake was
  // called.
  int wake() const { return wake_; }
  void Wake() const;

  struct Wish {
    ShardId shard;
    ShardUrgency urgency = ShardUrgency::kSoon;
  };
  // Wishes that are new or have become more urgent.
  std::vector<Wish> TakeNew();
  std::vector<Wish> All() const;
  // How many others are wanted now that were asked for, at first, before this one.
  int AskedBefore(ShardId shard) const;

  struct Arrival {
    bool demanded = false;  // wanted now
    double seconds = 0;     // since then
  };
  // The shard is here.
  Arrival Came(ShardId shard);

  // The shard is to be removed, and is neither here nor wanted from then on. False if it is leased
  // or somebody waits for it: then it stays.
  bool TakeAway(ShardId shard);
  // Whether the end of a lease wakes.
  void WaitForLeases(bool wait) { lease_wakes_ = wait; }

  // Time in which any shard was wanted now.
  double WaitingSeconds() const;

  // Those that are wanted now since `before` or longer. They are only wanted soon from then on.
  std::vector<ShardId> Expire(Clock::time_point before);

 private:
  enum class State : std::uint8_t { kNone, kSoon, kNow };
  struct Entry {
    State state = State::kNone;
    bool is_new = false;
    Clock::time_point since;  // when it was wanted now
  };

  void CountNow(int more);

  static constexpr int kAbsent = -1;

  std::vector<std::atomic<int>> leases_;  // [ShardId], of what is here; else kAbsent
  std::atomic<bool> lease_wakes_{false};
  int wake_;
  mutable std::mutex mutex_;         // guards what follows
  std::vector<Entry> entries_;       // [ShardId]
  std::vector<ShardId> fresh_;       // shards that are new; has room for all
  std::vector<ShardId> open_;        // shards that are wanted; likewise
  int now_ = 0;                      // of these, wanted now
  Clock::time_point waiting_since_;  // if any is
  double waiting_seconds_ = 0;       // until none was
};

}  // namespace doppler
