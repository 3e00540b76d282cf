#include "tier/expert_cache.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/alloc_guard.h"
#include "base/error.h"
#include "base/stopwatch.h"

namespace doppler {
namespace {

WeightMatrix MatrixAt(const std::byte* record, Bytes record_offset, const TensorEntry& tensor) {
  return {.data = record + (tensor.offset - record_offset),
          .dtype = tensor.dtype,
          .rows = static_cast<int>(tensor.shape[0]),
          .cols = static_cast<int>(tensor.shape[1]),
          .layout = tensor.layout};
}

ExpertView ViewOf(const std::byte* slot, const ExpertSource& source) {
  const std::byte* record = slot + (source.record.offset - source.extent.offset);
  return {.gate = MatrixAt(record, source.record.offset, source.record.gate),
          .up = MatrixAt(record, source.record.offset, source.record.up),
          .down = MatrixAt(record, source.record.offset, source.record.down)};
}

Bytes TotalBytes(std::span<const SlotClass> classes, std::span<const std::size_t> slots) {
  DOPPLER_CHECK(classes.size() == slots.size());
  Bytes total = 0;
  for (std::size_t i = 0; i < classes.size(); ++i) total += classes[i].bytes * slots[i];
  return total;
}

}  // namespace

ExpertCacheStats operator-(const ExpertCacheStats& after, const ExpertCacheStats& before) {
  return {.hits = after.hits - before.hits,
          .misses = after.misses - before.misses,
          .evictions = after.evictions - before.evictions,
          .bytes_hit = after.bytes_hit - before.bytes_hit,
          .bytes_read = after.bytes_read - before.bytes_read,
          .read_ahead = after.read_ahead - before.read_ahead,
          .read_ahead_used = after.read_ahead_used - before.read_ahead_used,
          .speculated = after.speculated - before.speculated,
          .speculated_used = after.speculated_used - before.speculated_used,
          .bytes_speculated = after.bytes_speculated - before.bytes_speculated,
          .bytes_wasted = after.bytes_wasted - before.bytes_wasted,
          .stall_seconds = after.stall_seconds - before.stall_seconds,
          .acquire_seconds = after.acquire_seconds - before.acquire_seconds,
          .reading_seconds = after.reading_seconds - before.reading_seconds,
          .page_ins = after.page_ins - before.page_ins,
          .given_back = after.given_back - before.given_back,
          .taken_again = after.taken_again - before.taken_again};
}

ExpertLease::ExpertLease(ExpertLease&& other) noexcept
    : cache_(std::exchange(other.cache_, nullptr)), slot_(other.slot_) {}

ExpertLease& ExpertLease::operator=(ExpertLease&& other) noexcept {
  std::swap(cache_, other.cache_);
  std::swap(slot_, other.slot_);
  return *this;
}

bool ExpertLease::Ready(ExpertPart part) const {
  const std::uint32_t bits = ExpertCache::Bit(part) | ExpertCache::kFailed;
  return (cache_->slots_[slot_].state.load(std::memory_order_acquire) & bits) != 0;
}

void ExpertLease::Wait(ExpertPart part) { cache_->WaitFor(slot_, ExpertCache::Bit(part)); }

void ExpertLease::Wait() {
  for (const ExpertPart part : kAllExpertParts) Wait(part);
}

const ExpertView& ExpertLease::view() const { return cache_->slots_[slot_].view; }

void ExpertLease::Release() {
  if (cache_ != nullptr) cache_->Unpin(slot_);
  cache_ = nullptr;
}

ExpertCache::ExpertCache(const Artifact& artifact, ExpertTable table, MemoryBudget& budget,
                         const ExpertCacheOptions& options)
    : artifact_(artifact),
      table_(std::move(table)),
      classes_(SlotClassesOf(table_)),
      policy_(options.policy ? options.policy : RankByRecency),
      half_life_(options.half_life),
      least_slots_(options.least_slots),
      region_bytes_(options.region),
      reservation_(budget.ReserveOrThrow(TotalBytes(classes_, options.slots), "the expert slots",
                                         "raise --host-memory")),
      memory_(TotalBytes(classes_, options.slots)),
      kept_(options.slots, options.reserve) {
  std::size_t keys = 0;
  for (const std::vector<ExpertSource>& layer : table_) {
    first_key_.push_back(keys);
    keys += layer.size();
    std::size_t slot_class = classes_.empty() ? 0 : classes_.size() - 1;
    for (const ExpertSource& source : layer) {
      slot_class = std::min(slot_class, ClassOf(classes_, source.SlotBytes()));
    }
    class_of_.push_back(slot_class);
  }
  slot_of_.assign(keys, kNoSlot);
  log_frequency_.assign(keys, kNeverUsed);
  last_use_.assign(keys, 0);
  LayOutSlots(options.slots);
  LayOutRegions();
  StartReader(options);
  if (shard_source() == nullptr) return;
  shard_source()->SetListener(
      [this](ShardId shard, const std::string& problem) { OnShard(shard, problem); });
}

void ExpertCache::LayOutSlots(std::span<const std::size_t> slots_of_class) {
  std::size_t total = 0;
  for (const std::size_t count : slots_of_class) slots_upto_.push_back(total += count);
  slots_ = std::vector<Slot>(total);
  to_read_.reserve(total);
  open_.reserve(total);
  std::size_t next = 0;
  std::byte* place = memory_.data();
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    evictable_.emplace_back(total);
    for (; next < slots_upto_[i]; ++next) {
      slots_[next].data = place;
      slots_[next].slot_class = i;
      evictable_[i].Add(next, kEmptyRank);
      place += classes_[i].bytes;
    }
  }
}

void ExpertCache::StartReader(const ExpertCacheOptions& options) {
  std::size_t most_steps = 1;
  for (const std::vector<ExpertSource>& layer : table_) {
    for (const ExpertSource& source : layer) most_steps = std::max(most_steps, source.Steps());
  }
  queue_ = std::make_unique<ReadQueue>(
      slots_.size() * most_steps + 1, kDeviceDepth,
      [this](QueuedRead read, ReadPriority priority) { Submit(read, priority); });
  reader_ =
      std::make_unique<ShardReader>(artifact_.files(),
                                    ShardReaderOptions{.depth = kDeviceDepth,
                                                       .threads = kReaderThreads,
                                                       .memory = memory_.span(),
                                                       .region = region_bytes_,
                                                       .make_reader = options.make_reader},
                                    [this](std::uint64_t tag, int error) { OnRead(tag, error); });
}

ExpertCache::~ExpertCache() {
  if (shard_source() != nullptr) {
    shard_source()->SetRanks({});
    shard_source()->SetListener({});
  }
  queue_->Stop();
}

std::size_t ExpertCache::Key(LayerId layer, ExpertId expert) const {
  return first_key_[layer.index()] + expert.index();
}

const ExpertSource& ExpertCache::Source(LayerId layer, ExpertId expert) const {
  return table_[layer.index()][expert.index()];
}

std::size_t ExpertCache::Unpinned(std::size_t record_class) const {
  std::size_t count = 0;
  for (std::size_t i = 0; i <= record_class; ++i) count += evictable_[i].size();
  return count;
}

bool ExpertCache::EnoughSlots(LayerId layer, std::span<const ExpertId> experts) const {
  std::size_t needed = 0;
  for (const ExpertId expert : experts) {
    const std::size_t slot = slot_of_[Key(layer, expert)];
    needed += slot == kNoSlot || slots_[slot].pins == 0 ? 1 : 0;
  }
  return needed <= Unpinned(class_of_[layer.index()]);
}

AcquireResult ExpertCache::Acquire(LayerId layer, std::span<const ExpertId> experts,
                                   std::span<ExpertLease> leases, UseKind use) {
  DOPPLER_CHECK(leases.size() == experts.size());
  const std::lock_guard lock(mutex_);
  const Stopwatch watch(stats_.acquire_seconds);
  CloseSpeculation();
  if (!EnoughSlots(layer, experts)) return AcquireResult::kExhausted;
  ++clock_;
  // Pins what is resident before any slot is taken, so that no miss evicts a hit of this call.
  for (std::size_t i = 0; i < experts.size(); ++i) {
    const std::size_t slot = slot_of_[Key(layer, experts[i])];
    if (slot == kNoSlot) continue;
    ++stats_.hits;
    stats_.bytes_hit += slots_[slot].source->extent.size;
    if (slots_[slot].reads != ReadPriority::kDemand) {
      queue_->Promote(static_cast<std::uint32_t>(slot));
    }
    Pin(slot);
    CountUse(slot, use);
    leases[i] = ExpertLease(this, slot);
  }
  to_read_.clear();
  for (std::size_t i = 0; i < experts.size(); ++i) {
    if (leases[i].cache_ != nullptr) continue;
    const std::size_t slot = FirstToGo(class_of_[layer.index()]);
    Fill(slot, Key(layer, experts[i]), Source(layer, experts[i]), Standing::kPassing);
    ++stats_.misses;
    stats_.bytes_read += slots_[slot].source->extent.size;
    Pin(slot);
    CountUse(slot, use);
    leases[i] = ExpertLease(this, slot);
    to_read_.push_back(slot);
  }
  RestoreReserve();
  for (const std::size_t slot : to_read_) PrepareReads(slot);
  std::erase_if(to_read_, [this](std::size_t slot) { return ParkIfMissing(slot); });
  for (const bool first_parts : {true, false}) {
    for (const std::size_t slot : to_read_) QueueReads(slot, ReadPriority::kDemand, first_parts);
  }
  return AcquireResult::kOk;
}

bool ExpertCache::ReadAhead(LayerId layer, ExpertId expert, std::size_t spare, Replace replace) {
  const std::lock_guard lock(mutex_);
  if (replace == Replace::kPassing) CloseSpeculation();
  const std::size_t key = Key(layer, expert);
  if (slot_of_[key] != kNoSlot) return true;
  std::optional<ShardLease> shard = LeaseShard(Source(layer, expert), ShardUrgency::kSoon);
  if (!shard) return true;
  const std::size_t record_class = class_of_[layer.index()];
  if (Unpinned(record_class) <= spare) return false;
  const std::size_t index = FirstToGo(record_class);
  const double highest = replace == Replace::kPassing ? kHighestPassingRank : kEmptyRank;
  if (evictable_[slots_[index].slot_class].FirstRank() > highest) return false;
  Fill(index, key, Source(layer, expert), Standing::kPassing);
  Slot& slot = slots_[index];
  slot.reads = ReadPriority::kBackground;
  slot.shard = std::move(*shard);
  slot.ahead = true;
  slot.last_use = ++clock_;
  ++stats_.read_ahead;
  stats_.bytes_read += slot.source->extent.size;
  ++background_reads_;
  Pin(index);
  PrepareReads(index);
  QueueReads(index, ReadPriority::kBackground, true);
  QueueReads(index, ReadPriority::kBackground, false);
  return true;
}

std::size_t ExpertCache::BackgroundReads() const {
  const std::lock_guard lock(mutex_);
  return background_reads_;
}

std::pair<LayerId, ExpertId> ExpertCache::RecordOf(std::size_t key) const {
  // The last layer that begins at the key or before it; layers without experts begin with the next.
  const auto after = std::upper_bound(first_key_.begin(), first_key_.end(), key);
  const auto layer = static_cast<std::size_t>(after - first_key_.begin()) - 1;
  return {LayerId(layer), ExpertId(key - first_key_[layer])};
}

bool ExpertCache::Resident(LayerId layer, ExpertId expert) const {
  const std::lock_guard lock(mutex_);
  return slot_of_[Key(layer, expert)] != kNoSlot;
}

bool ExpertCache::AllResident(LayerId layer) const {
  const std::lock_guard lock(mutex_);
  const std::size_t next = layer.index() + 1;
  const auto first = slot_of_.begin() + static_cast<std::ptrdiff_t>(first_key_[layer.index()]);
  const auto end = next == first_key_.size()
                       ? slot_of_.end()
                       : slot_of_.begin() + static_cast<std::ptrdiff_t>(first_key_[next]);
  return std::find(first, end, kNoSlot) == end;
}

std::size_t ExpertCache::MostPinned(LayerId layer) const {
  const std::lock_guard lock(mutex_);
  return slots_upto_[class_of_[layer.index()]];
}

Bytes ExpertCache::SlotBytes(LayerId layer) const {
  return classes_[class_of_[layer.index()]].bytes;
}

void ExpertCache::Pin(std::size_t index) {
  Slot& slot = slots_[index];
  if (slot.pins++ > 0) return;
  evictable_[slot.slot_class].Remove(index);
  kept_.Pin(index, slot.slot_class);
}

void ExpertCache::CountUse(std::size_t index, UseKind use) {
  Slot& slot = slots_[index];
  if (slot.ahead) ++stats_.read_ahead_used;
  slot.ahead = false;
  const bool speculated = slot.standing == Standing::kSpeculated;
  if (speculated) ++stats_.speculated_used;
  const bool kept = use == UseKind::kKeep;
  if (kept || speculated) SetStanding(index, kept ? Standing::kKept : Standing::kPassing);
  if (kept || slot.standing == Standing::kPassing) slot.last_use = clock_;
  last_use_[slot.key] = clock_;
  log_frequency_[slot.key] =
      AddUse(log_frequency_[slot.key], 1, static_cast<double>(clock_), half_life_);
}

double ExpertCache::RankOf(const Slot& slot) const {
  switch (slot.standing) {
    case Standing::kEmpty:
      return kEmptyRank;
    case Standing::kSpeculated:
      return SpeculatedRank(slot.order);
    case Standing::kPassing:
      return slot.ahead ? AheadRank(slot.last_use) : PassingRank(slot.last_use);
    case Standing::kAside:
      return AsideRank(slot.order);
    case Standing::kKept:
      break;
  }
  return policy_(
      {.key = slot.key, .last_use = slot.last_use, .log_frequency = log_frequency_[slot.key]});
}

// Of the slots that hold a record of that class and that nobody pins, the one of lowest rank; of
// several in different classes the smallest. REQUIRES: there is one.
std::size_t ExpertCache::FirstToGo(std::size_t record_class) const {
  const EvictionQueue* best = nullptr;
  for (std::size_t i = record_class + 1; i-- > 0;) {
    if (evictable_[i].empty()) continue;
    if (best == nullptr || evictable_[i].FirstRank() < best->FirstRank()) best = &evictable_[i];
  }
  DOPPLER_CHECK(best != nullptr);
  return best->First();
}

// REQUIRES: nobody pins the slot.
void ExpertCache::Fill(std::size_t index, std::size_t key, const ExpertSource& source,
                       Standing standing) {
  Slot& slot = slots_[index];
  if (slot.source != nullptr) {
    ++stats_.evictions;
    if (slot.standing == Standing::kSpeculated) stats_.bytes_wasted += slot.source->extent.size;
    slot_of_[slot.key] = kNoSlot;
  }
  SetStanding(index, standing);
  slot.source = &source;
  slot.key = key;
  slot.view = ViewOf(slot.data, source);
  slot_of_[key] = index;
}

void ExpertCache::Forget(std::size_t index) {
  Slot& slot = slots_[index];
  slot_of_[slot.key] = kNoSlot;
  slot.source = nullptr;
  slot.shard = {};
  slot.ahead = false;
  SetStanding(index, Standing::kEmpty);
  slot.state.store(kSettled, std::memory_order_relaxed);
}

void ExpertCache::Unpin(std::size_t index) {
  if (shard_source() != nullptr && UnpinParked(index)) return;
  Slot& slot = slots_[index];
  // An abandoned lease must not let its slot be evicted while the device still writes into it.
  std::uint32_t state = slot.state.load(std::memory_order_acquire);
  while ((state & kSettled) == 0) {
    slot.state.wait(state, std::memory_order_acquire);
    state = slot.state.load(std::memory_order_acquire);
  }
  const std::lock_guard lock(mutex_);
  Release(index);
}

// REQUIRES: mutex_ is held.
void ExpertCache::Release(std::size_t index) {
  Slot& slot = slots_[index];
  if (--slot.pins > 0) return;
  // Forgotten, so that the next Acquire tries the read again.
  if ((slot.state.load(std::memory_order_relaxed) & kFailed) != 0) Forget(index);
  const double rank = RankOf(slot);
  evictable_[slot.slot_class].Add(index, rank);
  if (slot.standing == Standing::kKept) kept_.Unpin(index, slot.slot_class, rank);
}

std::vector<double> ExpertCache::Usage() const {
  const std::lock_guard lock(mutex_);
  std::vector<double> usage = log_frequency_;
  for (double& value : usage) value -= static_cast<double>(clock_) / half_life_;
  return usage;
}

void ExpertCache::SetUsage(std::span<const double> usage) {
  const std::lock_guard lock(mutex_);
  DOPPLER_CHECK(usage.size() == log_frequency_.size());
  std::copy(usage.begin(), usage.end(), log_frequency_.begin());
}

ExpertCacheStats ExpertCache::stats() const {
  const std::lock_guard lock(mutex_);
  ExpertCacheStats stats = stats_;
  stats.reading_seconds = queue_->BusySeconds();
  return stats;
}

}  // namespace doppler
