// The reads of the expert cache: from a slot that is to be filled to bytes that are verified, and
// those who wait for them.
#include <utility>

#include "base/alloc_guard.h"
#include "base/error.h"
#include "base/stopwatch.h"
#include "tier/expert_cache.h"

namespace doppler {
namespace {

// A read's name on its way through the reader: priority, step, slot.
std::uint64_t TagOf(QueuedRead read, ReadPriority priority) {
  return std::uint64_t{read.slot} | std::uint64_t{read.part} << 32 |
         static_cast<std::uint64_t>(priority) << 62;
}

}  // namespace

void ExpertCache::PrepareReads(std::size_t index) {
  Slot& slot = slots_[index];
  const ExpertSource& source = *slot.source;
  for (const ExpertPart part : kAllExpertParts) {
    std::uint32_t steps = 0;
    for (std::size_t step = 0; step < source.Steps(); ++step) {
      steps += source.StepHolds(step, part) ? 1 : 0;
    }
    slot.steps_left[static_cast<std::size_t>(part)].store(steps, std::memory_order_relaxed);
  }
  slot.all_steps_left.store(static_cast<std::uint32_t>(source.Steps()), std::memory_order_relaxed);
  slot.state.store(0, std::memory_order_relaxed);
  slot.wanted_at = Clock::now();
}

// Queues the steps that hold gate or up, or the others.
void ExpertCache::QueueReads(std::size_t index, ReadPriority priority, bool first_parts) {
  const ExpertSource& source = *slots_[index].source;
  for (std::size_t step = 0; step < source.Steps(); ++step) {
    const bool first =
        source.StepHolds(step, ExpertPart::kGate) || source.StepHolds(step, ExpertPart::kUp);
    if (first != first_parts) continue;
    queue_->Push(priority, {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(step)});
  }
}

void ExpertCache::Submit(QueuedRead read, ReadPriority priority) {
  const Slot& slot = slots_[read.slot];
  const Extent extent = slot.source->StepExtent(read.part);
  reader_->Submit({.shard = extent.shard,
                   .offset = extent.offset,
                   .out = {slot.data + read.part * slot.source->step, extent.size},
                   .tag = TagOf(read, priority)});
}

// Runs on a thread of the reader. The slot is pinned and loading, so that nobody else changes it.
void ExpertCache::OnRead(std::uint64_t tag, int error) {
  const auto index = static_cast<std::size_t>(tag & 0xffffffff);
  const auto step = static_cast<std::size_t>(tag >> 32 & 0x3fffffff);
  // First the next read, then the work: the device is not to wait for a hash.
  queue_->Completed(static_cast<ReadPriority>(tag >> 62));
  Slot& slot = slots_[index];
  CheckStep(slot, step, error);
  CountDown(slot, step);
}

void ExpertCache::CheckStep(Slot& slot, std::size_t step, int error) {
  const ExpertSource& source = *slot.source;
  const Extent extent = source.StepExtent(step);
  const std::span<const std::byte> bytes(slot.data + step * source.step, extent.size);
  const bool unchecked = error == 0 && source.checked_whole;
  if (unchecked || (error == 0 && artifact_.Verify(extent, bytes))) return;
  Fail(slot, extent, error);
}

void ExpertCache::Fail(Slot& slot, const Extent& extent, int error) {
  if ((slot.state.fetch_or(kFailing, std::memory_order_acq_rel) & kFailing) != 0) return;
  const AllowAllocScope message;
  slot.problem = error == 0 ? artifact_.DamageMessage(extent)
                            : artifact_.files().ReadProblem(extent.shard, error);
  if (error == 0 && shard_source() != nullptr) shard_source()->Damaged(extent.shard);
  slot.state.fetch_or(kFailed, std::memory_order_release);
}

// Takes note of a step that has been checked, and tells those who wait. The slot may belong to
// another expert as soon as its last step is counted, so that comes at the very end.
void ExpertCache::CountDown(Slot& slot, std::size_t step) {
  if (!slot.source->checked_whole) Publish(slot, PartsCompletedBy(slot, step));
  if (slot.all_steps_left.fetch_sub(1, std::memory_order_acq_rel) == 1) Settle(slot);
  progress_.fetch_add(1, std::memory_order_release);
  progress_.notify_all();
}

// The parts of which this was the last step.
std::uint32_t ExpertCache::PartsCompletedBy(Slot& slot, std::size_t step) {
  std::uint32_t completed = 0;
  for (const ExpertPart part : kAllExpertParts) {
    if (!slot.source->StepHolds(step, part)) continue;
    std::atomic<std::uint32_t>& left = slot.steps_left[static_cast<std::size_t>(part)];
    if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) completed |= Bit(part);
  }
  return completed;
}

// Says that parts are there, unless something of the record is wrong.
void ExpertCache::Publish(Slot& slot, std::uint32_t parts) {
  if ((slot.state.load(std::memory_order_acquire) & kFailing) != 0) parts = 0;
  slot.state.fetch_or(parts, std::memory_order_release);
  slot.state.notify_all();
}

// After the last step.
void ExpertCache::Settle(Slot& slot) {
  const ExpertSource& source = *slot.source;
  if (source.checked_whole) {
    const bool failing = (slot.state.load(std::memory_order_acquire) & kFailing) != 0;
    if (!failing && !artifact_.Verify(source.extent, {slot.data, source.extent.size})) {
      Fail(slot, source.extent, 0);
    }
    Publish(slot, kAllParts);
  }
  const bool background = slot.reads != ReadPriority::kDemand;
  if (!background) CountPageIn(slot);
  slot.shard = {};
  slot.state.fetch_or(kSettled, std::memory_order_release);
  slot.state.notify_all();
  if (!background) return;
  // The pin that the reads held.
  const std::lock_guard lock(mutex_);
  slot.reads = ReadPriority::kDemand;
  --background_reads_;
  Release(static_cast<std::size_t>(&slot - slots_.data()));
}

void ExpertCache::CountPageIn(const Slot& slot) {
  const std::lock_guard lock(mutex_);
  stats_.page_ins.Add(SecondsBetween(slot.wanted_at, Clock::now()));
}

void ExpertCache::WaitFor(std::size_t index, std::uint32_t bits) {
  Slot& slot = slots_[index];
  std::uint32_t state = slot.state.load(std::memory_order_acquire);
  if ((state & (bits | kFailed)) == 0) {
    double waited = 0;
    {
      const Stopwatch watch(waited);
      while ((state & (bits | kFailed)) == 0) {
        slot.state.wait(state, std::memory_order_acquire);
        state = slot.state.load(std::memory_order_acquire);
      }
    }
    const std::lock_guard lock(mutex_);
    stats_.stall_seconds += waited;
  }
  if ((state & kFailed) != 0) {
    const AllowAllocScope message;
    throw Error(slot.problem);
  }
}

void ExpertCache::WaitForProgress(std::uint32_t seen) {
  double waited = 0;
  {
    const Stopwatch watch(waited);
    progress_.wait(seen, std::memory_order_acquire);
  }
  const std::lock_guard lock(mutex_);
  stats_.stall_seconds += waited;
}

}  // namespace doppler
