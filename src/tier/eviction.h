// Which resident expert makes room for a missing one: a pure function of how slots were used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace doppler {

struct SlotUse {
  std::uint64_t last_use = 0;  // a clock that counts acquisitions; 0 for a slot never used
  bool evictable = true;       // not pinned by a lease and not being read into
};

// The index of the slot to evict. REQUIRES: at least one slot is evictable.
using EvictionPolicy = std::function<std::size_t(std::span<const SlotUse>)>;

// Global recency: the slot that was used longest ago, whatever its layer; the lowest index of
// several. An empty slot counts as never used.
std::size_t EvictLeastRecentlyUsed(std::span<const SlotUse> slots);

}  // namespace doppler
