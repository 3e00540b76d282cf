#include "tier/expert_cache.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/alloc_guard.h"
#include "base/error.h"

namespace doppler {
namespace {

WeightMatrix MatrixAt(const std::byte* record, Bytes record_offset, const TensorEntry& tensor) {
  return {.data = record + (tensor.offset - record_offset),
          .dtype = tensor.dtype,
          .rows = static_cast<int>(tensor.shape[0]),
          .cols = static_cast<int>(tensor.shape[1])};
}

ExpertView ViewOf(const std::byte* slot, const ExpertSource& source) {
  const std::byte* record = slot + (source.record.offset - source.extent.offset);
  return {.gate = MatrixAt(record, source.record.offset, source.record.gate),
          .up = MatrixAt(record, source.record.offset, source.record.up),
          .down = MatrixAt(record, source.record.offset, source.record.down)};
}

Reservation ReserveSlots(MemoryBudget& budget, Bytes size) {
  std::optional<Reservation> reservation = budget.Reserve(size);
  if (!reservation) {
    Throw("the expert cache needs {} and {} of the budget is left; raise --host-memory",
          FormatSize(size), FormatSize(budget.limit() - budget.reserved()));
  }
  return std::move(*reservation);
}

}  // namespace

ExpertCacheStats operator-(const ExpertCacheStats& after, const ExpertCacheStats& before) {
  return {.hits = after.hits - before.hits,
          .misses = after.misses - before.misses,
          .evictions = after.evictions - before.evictions,
          .bytes_read = after.bytes_read - before.bytes_read,
          .stall_seconds = after.stall_seconds - before.stall_seconds};
}

ExpertTable FindExperts(const Artifact& artifact, std::span<const int> experts_of_layer) {
  ExpertTable table(experts_of_layer.size());
  for (std::size_t layer = 0; layer < table.size(); ++layer) {
    for (int expert = 0; expert < experts_of_layer[layer]; ++expert) {
      ExpertRecord record = FindExpertRecord(artifact.manifest(), LayerId(layer), ExpertId(expert));
      const Extent extent = artifact.Cover(record.shard, record.offset, record.size);
      table[layer].push_back({.record = std::move(record), .extent = extent});
    }
  }
  return table;
}

Bytes SlotBytes(const ExpertTable& table) {
  Bytes largest = 0;
  for (const std::vector<ExpertSource>& layer : table) {
    for (const ExpertSource& source : layer) largest = std::max(largest, source.extent.size);
  }
  return AlignUp(largest, kDirectAlignment);
}

ExpertLease::ExpertLease(ExpertLease&& other) noexcept
    : cache_(std::exchange(other.cache_, nullptr)), slot_(other.slot_) {}

ExpertLease& ExpertLease::operator=(ExpertLease&& other) noexcept {
  std::swap(cache_, other.cache_);
  std::swap(slot_, other.slot_);
  return *this;
}

bool ExpertLease::Ready() const {
  return cache_->slots_[slot_].state.load(std::memory_order_acquire) !=
         ExpertCache::State::kLoading;
}

void ExpertLease::Wait() { cache_->WaitFor(slot_); }

const ExpertView& ExpertLease::view() const { return cache_->slots_[slot_].view; }

void ExpertLease::Release() {
  if (cache_ != nullptr) cache_->Unpin(slot_);
  cache_ = nullptr;
}

ExpertCache::ExpertCache(const Artifact& artifact, ExpertTable table, MemoryBudget& budget,
                         const ExpertCacheOptions& options)
    : artifact_(artifact),
      table_(std::move(table)),
      slot_bytes_(SlotBytes(table_)),
      policy_(options.policy),
      reservation_(ReserveSlots(budget, options.slots * slot_bytes_)),
      memory_(options.slots * slot_bytes_),
      slots_(options.slots),
      uses_(options.slots),
      unpinned_(options.slots) {
  std::size_t keys = 0;
  for (const std::vector<ExpertSource>& layer : table_) {
    first_key_.push_back(keys);
    keys += layer.size();
  }
  slot_of_.assign(keys, kNoSlot);
  to_read_.reserve(options.slots);
  for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i].data = memory_.data() + i * slot_bytes_;
  // As deep as there can be reads, so that Submit does not wait; bounded for very large caches,
  // where one Acquire asks for far fewer.
  const int depth = static_cast<int>(std::clamp<std::size_t>(options.slots, 1, 1024));
  reader_ = options.make_reader({.depth = depth},
                                [this](std::uint64_t slot, int error) { OnRead(slot, error); });
}

ExpertCache::~ExpertCache() = default;

std::size_t ExpertCache::Key(LayerId layer, ExpertId expert) const {
  return first_key_[layer.index()] + expert.index();
}

bool ExpertCache::EnoughSlots(LayerId layer, std::span<const ExpertId> experts) const {
  std::size_t needed = 0;
  for (const ExpertId expert : experts) {
    const std::size_t slot = slot_of_[Key(layer, expert)];
    needed += slot == kNoSlot || slots_[slot].pins == 0 ? 1 : 0;
  }
  return needed <= unpinned_;
}

AcquireResult ExpertCache::Acquire(LayerId layer, std::span<const ExpertId> experts,
                                   std::span<ExpertLease> leases) {
  DOPPLER_CHECK(leases.size() == experts.size());
  const std::lock_guard lock(mutex_);
  if (!EnoughSlots(layer, experts)) return AcquireResult::kExhausted;
  ++clock_;
  // Pins what is resident before any slot is taken, so that no miss evicts a hit of this call.
  for (std::size_t i = 0; i < experts.size(); ++i) {
    const std::size_t slot = slot_of_[Key(layer, experts[i])];
    if (slot == kNoSlot) continue;
    ++stats_.hits;
    Pin(slot);
    leases[i] = ExpertLease(this, slot);
  }
  to_read_.clear();
  for (std::size_t i = 0; i < experts.size(); ++i) {
    if (leases[i].cache_ != nullptr) continue;
    const std::size_t slot =
        TakeSlot(Key(layer, experts[i]), table_[layer.index()][experts[i].index()]);
    ++stats_.misses;
    Pin(slot);
    leases[i] = ExpertLease(this, slot);
    to_read_.push_back(slot);
  }
  for (const std::size_t slot : to_read_) StartRead(slot);
  return AcquireResult::kOk;
}

void ExpertCache::Pin(std::size_t index) {
  Slot& slot = slots_[index];
  if (slot.pins++ == 0) --unpinned_;
  uses_[index] = {.last_use = clock_, .evictable = false};
}

std::size_t ExpertCache::TakeSlot(std::size_t key, const ExpertSource& source) {
  const std::size_t index = policy_(uses_);
  DOPPLER_CHECK(index < slots_.size() && uses_[index].evictable);
  if (slots_[index].source != nullptr) {
    ++stats_.evictions;
    Forget(index);
  }
  Slot& slot = slots_[index];
  slot.source = &source;
  slot.key = key;
  slot.view = ViewOf(slot.data, source);
  slot_of_[key] = index;
  return index;
}

void ExpertCache::Forget(std::size_t index) {
  Slot& slot = slots_[index];
  slot_of_[slot.key] = kNoSlot;
  slot.source = nullptr;
  slot.state.store(State::kEmpty, std::memory_order_relaxed);
  uses_[index].last_use = 0;
}

void ExpertCache::StartRead(std::size_t index) {
  Slot& slot = slots_[index];
  const Extent& extent = slot.source->extent;
  slot.state.store(State::kLoading, std::memory_order_relaxed);
  stats_.bytes_read += extent.size;
  reader_->Submit({.file = &artifact_.ShardFile(extent.shard),
                   .offset = extent.offset,
                   .out = {slot.data, extent.size},
                   .tag = index});
}

// Runs on a thread of the reader. The slot is pinned and loading, so that nobody else writes it.
void ExpertCache::OnRead(std::uint64_t index, int error) {
  Slot& slot = slots_[index];
  const Extent& extent = slot.source->extent;
  State state = State::kReady;
  if (error != 0) {
    const AllowAllocScope message;
    slot.problem =
        fmt::format("cannot read the shard '{}': {}",
                    artifact_.ShardFile(extent.shard).path().string(), DescribeReadError(error));
    state = State::kFailed;
  } else if (!artifact_.Verify(extent, {slot.data, extent.size})) {
    const AllowAllocScope message;
    slot.problem = artifact_.DamageMessage(extent);
    state = State::kFailed;
  }
  slot.state.store(state, std::memory_order_release);
  slot.state.notify_all();
}

void ExpertCache::WaitFor(std::size_t index) {
  Slot& slot = slots_[index];
  if (slot.state.load(std::memory_order_acquire) == State::kLoading) {
    const auto start = std::chrono::steady_clock::now();
    slot.state.wait(State::kLoading, std::memory_order_acquire);
    const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - start;
    const std::lock_guard lock(mutex_);
    stats_.stall_seconds += waited.count();
  }
  if (slot.state.load(std::memory_order_acquire) == State::kFailed) {
    const AllowAllocScope message;
    throw Error(slot.problem);
  }
}

void ExpertCache::Unpin(std::size_t index) {
  Slot& slot = slots_[index];
  // An abandoned lease must not let its slot be evicted while the device still writes into it.
  slot.state.wait(State::kLoading, std::memory_order_acquire);
  const std::lock_guard lock(mutex_);
  if (--slot.pins > 0) return;
  ++unpinned_;
  uses_[index].evictable = true;
  // Forgotten, so that the next Acquire tries the read again.
  if (slot.state.load(std::memory_order_relaxed) == State::kFailed) Forget(index);
}

ExpertCacheStats ExpertCache::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace doppler
