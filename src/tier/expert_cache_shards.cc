// Experts whose shards are not on disk yet: their slots are parked until the source has told of the
// shard, and read then as any other.
//
// The source calls the listener without a lock that Request takes, so that mutex_ may be held here
// as there.
#include <optional>
#include <utility>

#include "tier/expert_cache.h"

namespace doppler {

// Keeps the record's shard on disk; nothing if it has to come first.
std::optional<ShardLease> ExpertCache::LeaseShard(const ExpertSource& source,
                                                  ShardUrgency urgency) {
  ShardSource* const shards = shard_source();
  if (shards == nullptr) return ShardLease();
  std::optional<ShardLease> lease = ShardLease::Of(*shards, source.extent.shard);
  if (!lease) shards->Request(source.extent.shard, urgency);
  return lease;
}

void ExpertCache::Expect(LayerId layer, ExpertId expert) {
  LeaseShard(Source(layer, expert), ShardUrgency::kSoon);
}

// A shard that comes between the question and the parking is told of afterwards: that needs mutex_.
bool ExpertCache::ParkIfMissing(std::size_t index) {
  Slot& slot = slots_[index];
  std::optional<ShardLease> lease = LeaseShard(*slot.source, ShardUrgency::kNow);
  slot.parked = !lease;
  if (lease) slot.shard = std::move(*lease);
  return slot.parked;
}

// An abandoned lease need not wait for what nothing writes to yet.
bool ExpertCache::UnpinParked(std::size_t index) {
  const std::lock_guard lock(mutex_);
  Slot& slot = slots_[index];
  if (!slot.parked) return false;
  if (slot.pins == 1) {
    slot.parked = false;
    slot.state.fetch_or(kFailing | kFailed | kSettled, std::memory_order_acq_rel);
  }
  Release(index);
  return true;
}

// Runs on a thread of the source.
void ExpertCache::OnShard(ShardId shard, const std::string& problem) {
  const std::lock_guard lock(mutex_);
  for (std::size_t index = 0; index < slots_.size(); ++index) {
    Slot& slot = slots_[index];
    if (!slot.parked || slot.source->extent.shard != shard) continue;
    if (!problem.empty()) {
      slot.parked = false;
      FailParked(slot, problem);
      continue;
    }
    if (ParkIfMissing(index)) continue;
    QueueReads(index, ReadPriority::kDemand, true);
    QueueReads(index, ReadPriority::kDemand, false);
  }
}

void ExpertCache::FailParked(Slot& slot, const std::string& problem) {
  slot.problem = problem;
  slot.state.fetch_or(kFailing | kFailed | kSettled, std::memory_order_acq_rel);
  slot.state.notify_all();
  progress_.fetch_add(1, std::memory_order_release);
  progress_.notify_all();
}

void ExpertCache::LetShardsGo(const EvictionPolicy& policy) {
  if (shard_source() == nullptr) return;
  shard_source()->SetRanks([this, policy](std::span<double> ranks) {
    const std::lock_guard lock(mutex_);
    std::size_t key = 0;
    for (const std::vector<ExpertSource>& layer : table_) {
      for (const ExpertSource& source : layer) {
        ranks[source.extent.shard.index()] =
            policy({.key = key, .last_use = last_use_[key], .log_frequency = log_frequency_[key]});
        ++key;
      }
    }
  });
}

}  // namespace doppler
