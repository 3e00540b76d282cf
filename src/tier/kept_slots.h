// Which slots hold records that decode keeps, if it may not keep all: a reserve of slots is left to
// records that are only expected to be used. Who is kept and has the lowest rank is set aside when
// there are too many.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "tier/eviction.h"

namespace doppler {

// One thread at a time. Does not allocate after construction.
class KeptSlots {
 public:
  // Slots are numbered class by class. Of the `reserve` each class has its part, rounded up, and at
  // most a sixteenth of its slots. Without a reserve nothing is ever too much.
  KeptSlots(std::span<const std::size_t> slots_of_class, std::size_t reserve);

  // One more slot holds a record that is kept, pinned by somebody; this one does not any more.
  void Add(std::size_t slot_class);
  void Remove(std::size_t slot, std::size_t slot_class);
  // Whether the slot may be set aside, which is the case while nobody pins it. REQUIRES: it is
  // kept.
  void Unpin(std::size_t slot, std::size_t slot_class, double rank);
  void Pin(std::size_t slot, std::size_t slot_class);

  // If more slots of the class are kept than may be, the one of them to set aside, which has been
  // removed; nothing if all of them are pinned.
  std::optional<std::size_t> TakeOneTooMany(std::size_t slot_class);

  std::size_t kept(std::size_t slot_class) const { return classes_[slot_class].kept; }
  std::size_t most(std::size_t slot_class) const { return classes_[slot_class].most; }

 private:
  struct Class {
    std::size_t first;       // slot
    std::size_t most;        // that may be kept
    std::size_t kept;        // now
    EvictionQueue unpinned;  // slots less `first`; empty without a reserve
  };

  std::vector<Class> classes_;
  const bool limited_;
};

}  // namespace doppler
