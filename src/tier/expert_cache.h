// Keeps routed experts resident in a fixed number of slots of host memory.
//
//   router picks experts -> Acquire() pins them and starts to page in those that are missing
//   -> lease.Wait(part) -> kernels read lease.view() -> the lease ends, the slot may be evicted
//
// A record is read in steps that are verified as they arrive, so that its gate projection can be
// used while its down projection is still on the device. Reads go past the page cache and run while
// the caller computes. A record whose shard is not on disk yet waits for the shard's source first
// (store/shard_source.h), and stands in no other read's way.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/stopwatch.h"
#include "base/time_counts.h"
#include "io/mapped_memory.h"
#include "store/artifact.h"
#include "store/shard_reader.h"
#include "tier/budget.h"
#include "tier/eviction.h"
#include "tier/expert_source.h"
#include "tier/kept_slots.h"
#include "tier/read_queue.h"

namespace doppler {

struct ExpertCacheStats {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t evictions = 0;
  Bytes bytes_hit = 0;                // of the records that were hits
  Bytes bytes_read = 0;               // of the reads that were started, read-ahead among them
  std::uint64_t read_ahead = 0;       // records that were read before they were acquired
  std::uint64_t read_ahead_used = 0;  // of these, acquired before they were evicted
  std::uint64_t speculated = 0;       // records of which Speculate began to read
  std::uint64_t speculated_used = 0;  // of these, acquired before they were evicted
  Bytes bytes_speculated = 0;         // of these records
  Bytes bytes_wasted = 0;             // of those that were evicted and never acquired
  double stall_seconds = 0;           // spent waiting for bytes
  double acquire_seconds = 0;         // spent finding slots and starting reads
  double reading_seconds = 0;         // in which reads were on the device
  TimeCounts page_ins;                // of the misses, from Acquire to the last byte verified
  Bytes given_back = 0;               // of slots, to the system
  Bytes taken_again = 0;              // of these
};

// What was added between two readings.
ExpertCacheStats operator-(const ExpertCacheStats& after, const ExpertCacheStats& before);

enum class AcquireResult : std::uint8_t { kOk, kExhausted };

// Whether a use says that the record will be wanted again soon.
enum class UseKind : std::uint8_t {
  kKeep,  // decode: it becomes the most recent
  // Prefill of a long prompt passes over nearly all records once. Such a use leaves a resident
  // record's rank as it is, and a record that it brought in goes before all that decode has used.
  kPassing,
};

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
  bool Ready(ExpertPart part) const;
  // Waits for one projection's bytes, or for all. Throws Error if the record could not be read or
  // has the wrong hash, or if its shard does not come.
  void Wait(ExpertPart part);
  void Wait();
  // REQUIRES: Wait has returned for the parts that are used.
  const ExpertView& view() const;

 private:
  friend class ExpertCache;
  ExpertLease(ExpertCache* cache, std::size_t slot) : cache_(cache), slot_(slot) {}
  void Release();

  ExpertCache* cache_ = nullptr;
  std::size_t slot_ = 0;
};

struct ExpertCacheOptions {
  std::vector<std::size_t> slots;  // of each of SlotClassesOf(table)
  // Slots of the largest class that are never given back: those of one token in one layer.
  std::size_t least_slots = 1;
  Bytes region = kReaderRegion;  // given back at once; a multiple of kDirectAlignment
  EvictionPolicy policy;         // none: RankByRecency
  // Acquisitions after which a use counts half in ExpertUse::log_frequency.
  double half_life = 1e4;
  // Slots that records used in decode leave to Speculate, at most a sixteenth of all.
  std::size_t reserve = 0;
  // Makes the reader; tests inject delays and failures here.
  MakeReader make_reader = MakeAsyncReader;
};

// Acquire, Speculate, the leases, GiveBack and TakeAgain may be used from any thread. `artifact`
// outlives the cache, the cache its leases.
class ExpertCache {
 public:
  // Reserves the slots' bytes in `budget`; throws Error if they do not fit.
  // REQUIRES: options.slots has an entry for each slot class.
  ExpertCache(const Artifact& artifact, ExpertTable table, MemoryBudget& budget,
              const ExpertCacheOptions& options);
  ~ExpertCache();
  ExpertCache(const ExpertCache&) = delete;
  ExpertCache& operator=(const ExpertCache&) = delete;

  // Pins `experts` of `layer` into `leases`, in the same order, and starts reading those that are
  // missing: gate and up of all of them, then what is left. Does not wait, neither for reads nor
  // for other leases: if too many slots are pinned the answer is kExhausted and no lease is taken.
  // Does not allocate. REQUIRES: experts are distinct, leases.size() == experts.size(), the leases
  // are empty.
  AcquireResult Acquire(LayerId layer, std::span<const ExpertId> experts,
                        std::span<ExpertLease> leases, UseKind use = UseKind::kKeep);

  // Starts to read an expert in the background, if there is a slot that is empty or (with kPassing)
  // holds what was only passing, and `spare` slots that could hold it would still be free. What was
  // read ahead before stays until it is used. Says whether the expert is resident or on its way
  // now, be it only to the disk. Does not wait and does not allocate.
  enum class Replace : std::uint8_t { kNothing, kPassing };
  bool ReadAhead(LayerId layer, ExpertId expert, std::size_t spare, Replace replace);
  // Starts to read those of `experts`, most probable first, that are missing, when the device has
  // nothing else to do. Takes only slots that are empty or hold what decode has not used or does
  // not keep, as long as `spare` slots that could hold such records would still be free. What has
  // not reached the device by the next Acquire is not read. Of those that are not on disk the
  // shards are asked for, and no more. Does not wait and does not allocate. REQUIRES: experts are
  // distinct.
  void Speculate(LayerId layer, std::span<const ExpertId> experts, std::size_t spare);

  // If the expert is not on disk, has it fetched there behind those that are acquired. Does not
  // wait and does not allocate.
  void Expect(LayerId layer, ExpertId expert);
  // From now on shards may be removed from the disk, in the order that `policy` gives to what is
  // known of their records, whether they are resident or not.
  void LetShardsGo(const EvictionPolicy& policy);

  // Records that are being read in the background.
  std::size_t BackgroundReads() const;
  // The layer and expert of a record, which are counted layer by layer.
  std::pair<LayerId, ExpertId> RecordOf(std::size_t key) const;

  // Gives memory back to the system: at least `bytes` in whole regions, or as much as may go, and
  // says how much. Regions go whose records would be evicted first, with these records; none in
  // which a slot is pinned, and none without which fewer than the least slots would be left. Runs
  // beside Acquire, which it holds up for no longer than choosing takes, and does not allocate.
  Bytes GiveBack(Bytes bytes);
  // Takes regions again that were given back, at most `bytes`, and says how much. Their slots are
  // empty. Does not allocate.
  Bytes TakeAgain(Bytes bytes);

  // Whether an expert is in a slot or on its way into one.
  bool Resident(LayerId layer, ExpertId expert) const;
  // The same of all experts of a layer. REQUIRES: it has experts.
  bool AllResident(LayerId layer) const;
  // How many experts of a layer can be pinned at once now.
  std::size_t MostPinned(LayerId layer) const;
  // Bytes of one of the layer's slots. REQUIRES: the layer has experts.
  Bytes SlotBytes(LayerId layer) const;

  // A number that changes whenever a projection has arrived or a read has failed, and a wait for
  // that, which returns at once if it is not `seen` any more.
  std::uint32_t progress() const { return progress_.load(std::memory_order_acquire); }
  void WaitForProgress(std::uint32_t seen);

  // Of every record, by layer and expert, ExpertUse::log_frequency less the present clock over the
  // half-life: how much it was used, as of now. And back, for a cache that was not used yet.
  std::vector<double> Usage() const;
  // REQUIRES: one value for each record, none above 0 by much.
  void SetUsage(std::span<const double> usage);

  // Slots that can be used now.
  std::size_t slots() const;
  std::size_t records() const { return slot_of_.size(); }
  // Bytes of all slots, those among them that are given back.
  Bytes size() const { return memory_.size(); }
  // Of these, what is not given back.
  Bytes present() const;
  // Of these, what stays whatever happens.
  Bytes least() const { return std::min(size(), least_slots_ * LargestSlot()); }
  Bytes region() const { return region_bytes_; }
  // Where the slots are.
  std::span<const std::byte> memory() const { return memory_.span(); }
  std::string_view reader_name() const { return reader_->name(); }
  // See AsyncReader::registered.
  std::string_view registered() const { return reader_->registered(); }
  ExpertCacheStats stats() const;

 private:
  friend class ExpertLease;

  // Bits of a slot's state. The first kExpertParts say that a part is there and verified.
  static constexpr std::uint32_t kAllParts = (1u << kExpertParts) - 1;
  static constexpr std::uint32_t kFailed = 1u << 8;    // `problem` is set
  static constexpr std::uint32_t kFailing = 1u << 9;   // somebody is writing it
  static constexpr std::uint32_t kSettled = 1u << 10;  // the device does not write here

  struct Slot {
    std::byte* data = nullptr;
    std::size_t slot_class = 0;
    const ExpertSource* source = nullptr;  // null while empty
    std::size_t key = 0;                   // of the expert it holds
    int pins = 0;
    std::uint64_t last_use = 0;
    Clock::time_point wanted_at;  // when its reads were queued
    Standing standing = Standing::kEmpty;
    std::uint64_t order = 0;  // of its kind, if it is speculated or set aside
    // If not demanded, the reads themselves hold one of the pins.
    ReadPriority reads = ReadPriority::kDemand;
    bool ahead = false;    // of ReadAhead, and not acquired yet
    bool parked = false;   // its reads wait for the shard to come; demanded ones only
    ShardLease shard;      // until its reads are done
    int regions_away = 0;  // in which it has bytes; it cannot be used unless none is
    std::atomic<std::uint32_t> state{kSettled};
    std::array<std::atomic<std::uint32_t>, kExpertParts> steps_left{};  // that hold the part
    std::atomic<std::uint32_t> all_steps_left{0};
    std::string problem;  // set before kFailed
    ExpertView view;
  };

  // A part of the memory that goes and comes as a whole.
  struct Region {
    std::span<std::byte> memory;
    std::size_t first = 0;  // slots [first, end) have bytes in it
    std::size_t end = 0;
    bool away = false;  // given back
  };

  static constexpr std::size_t kNoSlot = ~std::size_t{0};
  static constexpr std::uint32_t Bit(ExpertPart part) {
    return 1u << static_cast<std::uint32_t>(part);
  }

  void LayOutSlots(std::span<const std::size_t> slots_of_class);
  void LayOutRegions();
  void StartReader(const ExpertCacheOptions& options);

  std::size_t Key(LayerId layer, ExpertId expert) const;
  const ExpertSource& Source(LayerId layer, ExpertId expert) const;
  std::size_t Unpinned(std::size_t record_class) const;
  bool EnoughSlots(LayerId layer, std::span<const ExpertId> experts) const;
  void Pin(std::size_t slot);
  void Release(std::size_t slot);
  double RankOf(const Slot& slot) const;
  std::size_t FirstToGo(std::size_t record_class) const;
  void Fill(std::size_t slot, std::size_t key, const ExpertSource& source, Standing standing);
  void SetStanding(std::size_t slot, Standing standing);
  void RestoreReserve();
  bool SpeculateOn(LayerId layer, ExpertId expert, std::size_t spare);
  void CloseSpeculation();
  void Forget(std::size_t slot);
  void CountUse(std::size_t slot, UseKind use);
  ShardSource* shard_source() const { return artifact_.files().source(); }
  std::optional<ShardLease> LeaseShard(const ExpertSource& source, ShardUrgency urgency);
  bool ParkIfMissing(std::size_t slot);
  bool UnpinParked(std::size_t slot);
  void OnShard(ShardId shard, const std::string& problem);
  void FailParked(Slot& slot, const std::string& problem);
  void PrepareReads(std::size_t slot);
  void QueueReads(std::size_t slot, ReadPriority priority, bool first_parts);
  void Submit(QueuedRead read, ReadPriority priority);

  Bytes LargestSlot() const { return classes_.empty() ? 0 : classes_[0].bytes; }
  void RetireRegions(Bytes bytes);
  void ValueSlots();
  Region* FirstRegionToGo();
  bool MayGo(const Region& region) const;
  double ValueOf(const Region& region) const;
  void Retire(Region& region);
  void Restore(Region& region);
  void CountSlots(std::size_t slot_class, std::ptrdiff_t more);

  void OnRead(std::uint64_t tag, int error);
  void CheckStep(Slot& slot, std::size_t step, int error);
  void Fail(Slot& slot, const Extent& extent, int error);
  void CountDown(Slot& slot, std::size_t step);
  static std::uint32_t PartsCompletedBy(Slot& slot, std::size_t step);
  static void Publish(Slot& slot, std::uint32_t parts);
  void Settle(Slot& slot);
  void CountPageIn(const Slot& slot);

  void Unpin(std::size_t slot);
  void WaitFor(std::size_t slot, std::uint32_t bits);

  const Artifact& artifact_;
  const ExpertTable table_;
  const std::vector<SlotClass> classes_;
  const EvictionPolicy policy_;
  const double half_life_;
  const std::size_t least_slots_;
  const Bytes region_bytes_;
  Reservation reservation_;
  MappedMemory memory_;  // the slots, class by class

  std::mutex resize_mutex_;              // one thread at a time gives back or takes again
  std::vector<Region*> going_;           // scratch of GiveBack
  mutable std::mutex mutex_;             // guards what follows, except the atomics in a slot
  std::vector<std::size_t> first_key_;   // [layer]
  std::vector<std::size_t> class_of_;    // [layer], of its largest record
  std::vector<std::size_t> slot_of_;     // [key], kNoSlot when not resident
  std::vector<double> log_frequency_;    // [key]
  std::vector<std::uint64_t> last_use_;  // [key], of any kind
  std::vector<Slot> slots_;
  std::vector<std::size_t> slots_upto_;   // [class], usable slots of it and of larger classes
  std::vector<EvictionQueue> evictable_;  // [class], slots that nobody pins
  KeptSlots kept_;                        // slots of that standing
  std::uint64_t set_aside_ = 0;           // records, so far
  std::uint64_t speculations_ = 0;        // likewise
  std::vector<std::size_t> open_;         // slots of the last Speculate, until the next Acquire
  std::vector<std::size_t> to_read_;      // scratch of Acquire
  std::vector<Region> regions_;           // in the order of memory
  Bytes away_ = 0;                        // of regions
  std::vector<std::size_t> by_rank_;      // scratch of GiveBack
  std::vector<double> value_;             // [slot], likewise: see ValueSlots
  std::uint64_t clock_ = 0;
  std::size_t background_reads_ = 0;  // records
  ExpertCacheStats stats_;

  std::atomic<std::uint32_t> progress_{0};
  std::unique_ptr<ReadQueue> queue_;
  std::unique_ptr<ShardReader> reader_;  // last: its threads use all of the above
};

}  // namespace doppler
