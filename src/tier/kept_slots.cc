#include "tier/kept_slots.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace doppler {
namespace {

constexpr std::size_t kLeastSlotsPerReserved = 16;

// The part of a reserve that falls on `slots` of `all`.
std::size_t ReserveOf(std::size_t slots, std::size_t all, std::size_t reserve) {
  if (all == 0) return 0;
  return std::min((reserve * slots + all - 1) / all, slots / kLeastSlotsPerReserved);
}

}  // namespace

KeptSlots::KeptSlots(std::span<const std::size_t> slots_of_class, std::size_t reserve)
    : limited_(reserve > 0) {
  const std::size_t all =
      std::accumulate(slots_of_class.begin(), slots_of_class.end(), std::size_t{0});
  std::size_t first = 0;
  for (const std::size_t slots : slots_of_class) {
    classes_.push_back({.first = first,
                        .most = slots - ReserveOf(slots, all, reserve),
                        .kept = 0,
                        .unpinned = EvictionQueue(limited_ ? slots : 0)});
    first += slots;
  }
}

void KeptSlots::Add(std::size_t slot_class) { ++classes_[slot_class].kept; }

void KeptSlots::Remove(std::size_t slot, std::size_t slot_class) {
  Pin(slot, slot_class);
  DOPPLER_CHECK(classes_[slot_class].kept > 0);
  --classes_[slot_class].kept;
}

void KeptSlots::Unpin(std::size_t slot, std::size_t slot_class, double rank) {
  Class& own = classes_[slot_class];
  if (limited_) own.unpinned.Add(slot - own.first, rank);
}

void KeptSlots::Pin(std::size_t slot, std::size_t slot_class) {
  Class& own = classes_[slot_class];
  if (limited_ && own.unpinned.Contains(slot - own.first)) own.unpinned.Remove(slot - own.first);
}

std::optional<std::size_t> KeptSlots::TakeOneTooMany(std::size_t slot_class) {
  Class& own = classes_[slot_class];
  if (own.kept <= own.most || own.unpinned.empty()) return std::nullopt;
  const std::size_t slot = own.first + own.unpinned.First();
  Remove(slot, slot_class);
  return slot;
}

}  // namespace doppler
