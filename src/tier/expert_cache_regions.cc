// The regions of the expert cache: memory that goes back to the system and is taken again.
//
// A slot belongs to all regions in which it has bytes, and can be used while none of them is away.
// So no read is under way to a region that goes: its slots are unpinned, and a slot that is read
// into is pinned.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "tier/expert_cache.h"

namespace doppler {

void ExpertCache::LayOutRegions() {
  DOPPLER_CHECK(region_bytes_ > 0 && region_bytes_ % kDirectAlignment == 0);
  std::size_t slot = 0;
  for (Bytes begin = 0; begin < memory_.size(); begin += region_bytes_) {
    Region region{
        .memory = memory_.span().subspan(begin, std::min(region_bytes_, memory_.size() - begin))};
    const std::byte* end = region.memory.data() + region.memory.size();
    region.first = slot;
    while (slot < slots_.size() &&
           slots_[slot].data + classes_[slots_[slot].slot_class].bytes <= end) {
      ++slot;
    }
    // The last one may go on in the next region.
    region.end = slot < slots_.size() && slots_[slot].data < end ? slot + 1 : slot;
    regions_.push_back(region);
  }
  going_.reserve(regions_.size());
  by_rank_.reserve(slots_.size());
  value_.resize(slots_.size());
}

std::size_t ExpertCache::slots() const {
  const std::lock_guard lock(mutex_);
  return slots_upto_.empty() ? 0 : slots_upto_.back();
}

Bytes ExpertCache::present() const {
  const std::lock_guard lock(mutex_);
  return memory_.size() - away_;
}

Bytes ExpertCache::GiveBack(Bytes bytes) {
  const std::lock_guard resize(resize_mutex_);
  RetireRegions(bytes);
  // Outside of the lock, as it takes milliseconds. Nobody uses these regions any more.
  Bytes given = 0;
  for (Region* region : going_) {
    const bool gone = reader_->LetGoOf(region->memory) && DropPages(region->memory);
    const std::lock_guard lock(mutex_);
    if (!gone) {
      Restore(*region);
      continue;
    }
    given += region->memory.size();
    stats_.given_back += region->memory.size();
  }
  return given;
}

Bytes ExpertCache::TakeAgain(Bytes bytes) {
  const std::lock_guard resize(resize_mutex_);
  Bytes taken = 0;
  {
    const std::lock_guard lock(mutex_);
    for (Region& region : regions_) {
      if (!region.away || taken + region.memory.size() > bytes) continue;
      Restore(region);
      taken += region.memory.size();
    }
    stats_.taken_again += taken;
  }
  // Who waits for slots may find some now.
  progress_.fetch_add(1, std::memory_order_release);
  progress_.notify_all();
  return taken;
}

void ExpertCache::RetireRegions(Bytes bytes) {
  const std::lock_guard lock(mutex_);
  going_.clear();
  ValueSlots();
  Bytes retired = 0;
  for (;;) {
    Region* region = FirstRegionToGo();
    // Once a slot has gone, what is left of its bytes in other regions is of no use.
    if (region == nullptr || (retired >= bytes && ValueOf(*region) > 0)) return;
    Retire(*region);
    retired += region->memory.size();
    going_.push_back(region);
  }
}

// What would be lost with each slot: its bytes, times its place in the order of eviction. Infinite
// for a slot that is pinned, nothing for one that is away.
void ExpertCache::ValueSlots() {
  by_rank_.clear();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    value_[i] = slot.regions_away > 0 ? 0 : std::numeric_limits<double>::infinity();
    if (evictable_[slot.slot_class].Contains(i)) by_rank_.push_back(i);
  }
  const auto rank = [this](std::size_t slot) {
    return evictable_[slots_[slot].slot_class].RankOf(slot);
  };
  std::sort(by_rank_.begin(), by_rank_.end(), [&rank](std::size_t a, std::size_t b) {
    return rank(a) < rank(b) || (rank(a) == rank(b) && a < b);
  });
  for (std::size_t place = 0; place < by_rank_.size(); ++place) {
    const std::size_t slot = by_rank_[place];
    value_[slot] = static_cast<double>(classes_[slots_[slot].slot_class].bytes) *
                   static_cast<double>(place + 1);
  }
}

// The region whose bytes are worth least; null if none may go.
ExpertCache::Region* ExpertCache::FirstRegionToGo() {
  Region* best = nullptr;
  double least = std::numeric_limits<double>::infinity();
  for (Region& region : regions_) {
    const double value = ValueOf(region);
    if (value >= least || !MayGo(region)) continue;
    best = &region;
    least = value;
  }
  return best;
}

// Whether the least slots would still be there.
bool ExpertCache::MayGo(const Region& region) const {
  if (region.away) return false;
  std::size_t lost = 0;
  for (std::size_t i = region.first; i < region.end; ++i) {
    lost += slots_[i].slot_class == 0 && slots_[i].regions_away == 0 ? 1 : 0;
  }
  return lost == 0 || slots_upto_[0] >= lost + least_slots_;
}

// Per byte of the region.
double ExpertCache::ValueOf(const Region& region) const {
  double value = 0;
  for (std::size_t i = region.first; i < region.end; ++i) value += value_[i];
  return value / static_cast<double>(region.memory.size());
}

// REQUIRES: nobody pins its slots.
void ExpertCache::Retire(Region& region) {
  region.away = true;
  away_ += region.memory.size();
  for (std::size_t i = region.first; i < region.end; ++i) {
    Slot& slot = slots_[i];
    if (slot.regions_away++ > 0) continue;
    value_[i] = 0;
    evictable_[slot.slot_class].Remove(i);
    if (slot.source != nullptr) Forget(i);
    CountSlots(slot.slot_class, -1);
  }
}

void ExpertCache::Restore(Region& region) {
  region.away = false;
  away_ -= region.memory.size();
  for (std::size_t i = region.first; i < region.end; ++i) {
    Slot& slot = slots_[i];
    if (--slot.regions_away > 0) continue;
    evictable_[slot.slot_class].Add(i, kEmptyRank);
    CountSlots(slot.slot_class, 1);
  }
}

void ExpertCache::CountSlots(std::size_t slot_class, std::ptrdiff_t more) {
  for (std::size_t i = slot_class; i < slots_upto_.size(); ++i) {
    slots_upto_[i] += static_cast<std::size_t>(more);
  }
}

}  // namespace doppler
