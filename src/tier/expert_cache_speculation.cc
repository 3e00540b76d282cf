// Reading experts that may be wanted soon, without putting out what decode keeps.
#include <optional>
#include <utility>

#include "base/stopwatch.h"
#include "tier/expert_cache.h"

namespace doppler {

void ExpertCache::Speculate(LayerId layer, std::span<const ExpertId> experts, std::size_t spare) {
  const std::lock_guard lock(mutex_);
  const Stopwatch watch(stats_.acquire_seconds);
  CloseSpeculation();
  // What is there must not make room for the others.
  to_read_.clear();
  for (const ExpertId expert : experts) {
    const std::size_t index = slot_of_[Key(layer, expert)];
    if (index == kNoSlot || slots_[index].standing == Standing::kKept) continue;
    if (slots_[index].standing == Standing::kSpeculated) slots_[index].order = ++speculations_;
    Pin(index);
    to_read_.push_back(index);
  }
  for (const ExpertId expert : experts) {
    if (!SpeculateOn(layer, expert, spare)) break;
  }
  for (const std::size_t index : to_read_) Release(index);
}

// False if there is no slot for it.
bool ExpertCache::SpeculateOn(LayerId layer, ExpertId expert, std::size_t spare) {
  const std::size_t key = Key(layer, expert);
  if (slot_of_[key] != kNoSlot) return true;
  std::optional<ShardLease> shard = LeaseShard(Source(layer, expert), ShardUrgency::kSoon);
  if (!shard) return true;
  const std::size_t record_class = class_of_[layer.index()];
  if (Unpinned(record_class) <= spare) return false;
  const std::size_t index = FirstToGo(record_class);
  if (slots_[index].standing == Standing::kKept) return false;
  Fill(index, key, Source(layer, expert), Standing::kSpeculated);
  slots_[index].shard = std::move(*shard);
  slots_[index].order = ++speculations_;
  slots_[index].reads = ReadPriority::kSpeculative;
  ++background_reads_;
  Pin(index);
  open_.push_back(index);
  PrepareReads(index);
  // Whole records, one after the other, so that as few as may be are half read when a layer
  // decides.
  QueueReads(index, ReadPriority::kSpeculative, true);
  QueueReads(index, ReadPriority::kSpeculative, false);
  return true;
}

// Now that a layer has chosen: what waits would come too late or is not wanted. What the device has
// begun to read is counted.
void ExpertCache::CloseSpeculation() {
  for (const std::size_t index : open_) {
    Slot& slot = slots_[index];
    // A read that failed has been forgotten.
    if (slot.standing != Standing::kSpeculated) continue;
    if (!queue_->Withdraw(static_cast<std::uint32_t>(index), slot.source->Steps())) {
      ++stats_.speculated;
      stats_.bytes_speculated += slot.source->extent.size;
      stats_.bytes_read += slot.source->extent.size;
      continue;
    }
    slot.reads = ReadPriority::kDemand;
    --background_reads_;
    Forget(index);
    Release(index);
  }
  open_.clear();
}

void ExpertCache::SetStanding(std::size_t index, Standing standing) {
  Slot& slot = slots_[index];
  const bool was_kept = slot.standing == Standing::kKept;
  slot.standing = standing;
  if (was_kept == (standing == Standing::kKept)) return;
  if (was_kept) {
    kept_.Remove(index, slot.slot_class);
  } else {
    kept_.Add(slot.slot_class);
  }
}

// Sets aside those of lowest rank that are kept beyond what the reserve leaves.
void ExpertCache::RestoreReserve() {
  for (std::size_t slot_class = 0; slot_class < classes_.size(); ++slot_class) {
    while (const std::optional<std::size_t> index = kept_.TakeOneTooMany(slot_class)) {
      Slot& slot = slots_[*index];
      slot.standing = Standing::kAside;
      slot.order = ++set_aside_;
      evictable_[slot_class].Remove(*index);
      evictable_[slot_class].Add(*index, RankOf(slot));
    }
  }
}

}  // namespace doppler
