// Keeps routed experts resident in a fixed number of slots of host memory.
//
//   router picks experts -> Acquire() pins them and starts to page in those that are missing
//   -> lease.Wait() -> kernels read lease.view() -> the lease ends, the slot may be evicted
//
// Slots have one size, that of the largest expert record. Reads go past the page cache, run while
// the caller computes, and are verified before a lease says that they are ready.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "io/async_reader.h"
#include "io/mapped_memory.h"
#include "store/artifact.h"
#include "tier/budget.h"
#include "tier/eviction.h"

namespace doppler {

// One expert's projections in memory.
struct ExpertView {
  WeightMatrix gate;  // [ffn_dim, model_dim]
  WeightMatrix up;    // [ffn_dim, model_dim]
  WeightMatrix down;  // [model_dim, ffn_dim]
};

struct ExpertCacheStats {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t evictions = 0;
  Bytes bytes_read = 0;
  double stall_seconds = 0;  // spent in ExpertLease::Wait
};

// What was added between two readings.
ExpertCacheStats operator-(const ExpertCacheStats& after, const ExpertCacheStats& before);

enum class AcquireResult : std::uint8_t { kOk, kExhausted };

class ExpertCache;

// Pins one expert. Move-only; ends when it is destroyed or assigned over.
class ExpertLease {
 public:
  ExpertLease() = default;
  ~ExpertLease() { Release(); }
  ExpertLease(ExpertLease&& other) noexcept;
  ExpertLease& operator=(ExpertLease&& other) noexcept;
  ExpertLease(const ExpertLease&) = delete;
  ExpertLease& operator=(const ExpertLease&) = delete;

  bool held() const { return cache_ != nullptr; }
  // Whether Wait would return, or throw, at once.
  bool Ready() const;
  // Waits for the expert's bytes. Throws Error if they could not be read or have the wrong hash.
  void Wait();
  // REQUIRES: Wait has returned.
  const ExpertView& view() const;

 private:
  friend class ExpertCache;
  ExpertLease(ExpertCache* cache, std::size_t slot) : cache_(cache), slot_(slot) {}
  void Release();

  ExpertCache* cache_ = nullptr;
  std::size_t slot_ = 0;
};

// An expert's place in the artifact, with all that a slot must hold to check it.
struct ExpertSource {
  ExpertRecord record;
  Extent extent;  // covers the record
};

// [moe layer][expert]; empty for a layer without experts.
using ExpertTable = std::vector<std::vector<ExpertSource>>;

// REQUIRES: every layer of `experts_of_layer` gives its number of experts, 0 for none.
ExpertTable FindExperts(const Artifact& artifact, std::span<const int> experts_of_layer);

// The bytes of one slot: the largest extent, in whole pages. 0 for an empty table.
Bytes SlotBytes(const ExpertTable& table);

struct ExpertCacheOptions {
  std::size_t slots = 0;
  EvictionPolicy policy = EvictLeastRecentlyUsed;
  // Makes the reader; tests inject delays and failures here.
  std::function<std::unique_ptr<AsyncReader>(const AsyncReaderOptions&, ReadDone)> make_reader =
      MakeAsyncReader;
};

// Acquire and the leases may be used from any thread. `artifact` outlives the cache, the cache its
// leases.
class ExpertCache {
 public:
  // Reserves slots * SlotBytes(table) in `budget`; throws Error if that does not fit.
  ExpertCache(const Artifact& artifact, ExpertTable table, MemoryBudget& budget,
              const ExpertCacheOptions& options);
  ~ExpertCache();
  ExpertCache(const ExpertCache&) = delete;
  ExpertCache& operator=(const ExpertCache&) = delete;

  // Pins `experts` of `layer` into `leases`, in the same order, and starts reading those that are
  // missing. Does not wait, neither for reads nor for other leases: if too many slots are pinned
  // the answer is kExhausted and no lease is taken. Does not allocate.
  // REQUIRES: experts are distinct, leases.size() == experts.size(), the leases are empty.
  AcquireResult Acquire(LayerId layer, std::span<const ExpertId> experts,
                        std::span<ExpertLease> leases);

  std::size_t slots() const { return slots_.size(); }
  Bytes slot_bytes() const { return slot_bytes_; }
  std::string_view reader_name() const { return reader_->name(); }
  ExpertCacheStats stats() const;

 private:
  friend class ExpertLease;

  enum class State : std::uint8_t { kEmpty, kLoading, kReady, kFailed };

  struct Slot {
    std::byte* data = nullptr;
    const ExpertSource* source = nullptr;  // null while empty
    std::size_t key = 0;                   // of the expert it holds
    int pins = 0;
    std::atomic<State> state{State::kEmpty};
    std::string problem;  // set before kFailed
    ExpertView view;
  };

  static constexpr std::size_t kNoSlot = ~std::size_t{0};

  std::size_t Key(LayerId layer, ExpertId expert) const;
  bool EnoughSlots(LayerId layer, std::span<const ExpertId> experts) const;
  void Pin(std::size_t slot);
  std::size_t TakeSlot(std::size_t key, const ExpertSource& source);
  void Forget(std::size_t slot);
  void StartRead(std::size_t slot);
  void OnRead(std::uint64_t slot, int error);
  void Unpin(std::size_t slot);
  void WaitFor(std::size_t slot);

  const Artifact& artifact_;
  const ExpertTable table_;
  const Bytes slot_bytes_;
  const EvictionPolicy policy_;
  Reservation reservation_;
  MappedMemory memory_;  // [slots, slot_bytes]

  mutable std::mutex mutex_;            // guards what follows, except the atomics in a slot
  std::vector<std::size_t> first_key_;  // [layer]
  std::vector<std::size_t> slot_of_;    // [key], kNoSlot when not resident
  std::vector<Slot> slots_;
  std::vector<SlotUse> uses_;         // [slot]
  std::vector<std::size_t> to_read_;  // scratch of Acquire
  std::size_t unpinned_ = 0;
  std::uint64_t clock_ = 0;
  ExpertCacheStats stats_;

  std::unique_ptr<AsyncReader> reader_;  // last: its threads use all of the above
};

}  // namespace doppler
