#include "tier/eviction.h"

#include "base/error.h"

namespace doppler {

std::size_t EvictLeastRecentlyUsed(std::span<const SlotUse> slots) {
  std::size_t victim = slots.size();
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const bool older = victim == slots.size() || slots[i].last_use < slots[victim].last_use;
    if (slots[i].evictable && older) victim = i;
  }
  DOPPLER_CHECK(victim < slots.size());
  return victim;
}

}  // namespace doppler
