// Which experts' shards may take room on the disk, and which go for others.
//
//   wishes -> Admit -> those that there is room for, which take it
//   the others wait -> Choose -> shards that nobody leases, coldest first -> Gone -> Admit again
//
// Room is counted by whole files from the wish on, so that what is half fetched never makes the
// folder larger than its budget. Nothing here touches the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "swarm/shard_wishes.h"

namespace doppler {

// Used by one thread. Does not own the wishes, which outlive it.
class DiskCache {
 public:
  // `sizes`: [ShardId], of the shards of experts; 0 for others. Without a budget all have room.
  DiskCache(std::optional<Bytes> budget, std::vector<Bytes> sizes, ShardWishes& wishes);

  // Bytes of the shard are on disk already, be the budget exceeded or not.
  void Found(ShardId shard);

  // Takes room for these and for wishes that waited, the urgent ones first, and gives those that
  // may be fetched now. The others wait. REQUIRES: `wishes` names no shard twice.
  std::vector<ShardWishes::Wish> Admit(std::span<const ShardWishes::Wish> wishes);

  // Whether Choose has anything to do.
  bool NeedsRoom() const;
  // Shards to remove, which nobody can lease from now on: for what is over the budget, and for
  // wishes that wait. An urgent wish displaces any, and as much goes at once as is worth the
  // trouble. The others displace those of lower rank than their own, and are dropped where there
  // are none. REQUIRES: ranks.size() is the number of shards.
  std::vector<ShardId> Choose(std::span<const double> ranks);
  // Of the last Choose, while they have not gone.
  const std::vector<ShardId>& going() const { return going_; }
  // They have been removed.
  void Gone();

  // Whether the shard has room and is not going.
  bool Holds(ShardId shard) const { return places_[shard.index()] == Place::kHeld; }
  Bytes used() const { return used_; }

 private:
  enum class Place : std::uint8_t { kNone, kHeld, kGoing };

  bool Fits(ShardId shard) const;
  bool UrgentWait() const;
  std::vector<ShardId> Coldest(std::span<const double> ranks) const;
  Bytes Take(ShardId shard);
  void TakeForUrgent(std::span<const double> ranks);
  void TakeForGuesses(std::span<const double> ranks);

  const std::optional<Bytes> budget_;
  const std::vector<Bytes> sizes_;  // [ShardId]
  ShardWishes& wishes_;
  std::vector<Place> places_;               // [ShardId]
  std::vector<ShardWishes::Wish> waiting_;  // for room, urgent ones first
  std::vector<ShardId> going_;
  Bytes used_ = 0;
};

}  // namespace doppler
