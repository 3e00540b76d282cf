#include "tier/read_queue.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace doppler {
namespace {

constexpr std::size_t Index(ReadPriority priority) { return static_cast<std::size_t>(priority); }

// Of the device's places, the part that the background may use beside a run.
constexpr int kBackgroundShare = 4;

}  // namespace

std::size_t ReadQueue::Ring::CountOf(std::uint32_t slot) const {
  std::size_t found = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    found += entries_[(head_ + i) % entries_.size()].slot == slot ? 1 : 0;
  }
  return found;
}

void ReadQueue::Ring::Push(QueuedRead read) {
  DOPPLER_CHECK(count_ < entries_.size());
  entries_[(head_ + count_) % entries_.size()] = read;
  ++count_;
}

QueuedRead ReadQueue::Ring::Pop() {
  const QueuedRead read = entries_[head_];
  head_ = (head_ + 1) % entries_.size();
  --count_;
  return read;
}

ReadQueue::ReadQueue(std::size_t capacity, int depth, Submit submit)
    : depth_(depth),
      submit_(std::move(submit)),
      waiting_{Ring(capacity), Ring(capacity), Ring(capacity)} {}

void ReadQueue::Push(ReadPriority priority, QueuedRead read) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  if (priority == ReadPriority::kDemand) demanded_ = true;
  waiting_[Index(priority)].Push(read);
  StartWhatMay();
}

void ReadQueue::Completed(ReadPriority priority) {
  const std::lock_guard lock(mutex_);
  --on_device_[Index(priority)];
  if (OnDevice() == 0) busy_seconds_ += SecondsBetween(busy_since_, Clock::now());
  StartWhatMay();
}

std::size_t ReadQueue::Promote(std::uint32_t slot) {
  const std::lock_guard lock(mutex_);
  std::size_t promoted = 0;
  for (const ReadPriority priority : {ReadPriority::kBackground, ReadPriority::kSpeculative}) {
    promoted += TakeOut(slot, waiting_[Index(priority)], &waiting_[Index(ReadPriority::kDemand)]);
  }
  if (promoted > 0) demanded_ = true;
  StartWhatMay();
  return promoted;
}

bool ReadQueue::Withdraw(std::uint32_t slot, std::size_t count) {
  const std::lock_guard lock(mutex_);
  Ring& speculative = waiting_[Index(ReadPriority::kSpeculative)];
  if (speculative.CountOf(slot) != count) return false;
  TakeOut(slot, speculative, nullptr);
  return true;
}

std::size_t ReadQueue::TakeOut(std::uint32_t slot, Ring& from, Ring* to) {
  std::size_t taken = 0;
  for (std::size_t left = from.size(); left > 0; --left) {
    const QueuedRead read = from.Pop();
    if (read.slot != slot) {
      from.Push(read);
      continue;
    }
    ++taken;
    if (to != nullptr) to->Push(read);
  }
  return taken;
}

void ReadQueue::Stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  for (Ring& ring : waiting_) ring.Clear();
}

bool ReadQueue::Idle() const {
  const std::lock_guard lock(mutex_);
  return OnDevice() == 0 && std::all_of(waiting_.begin(), waiting_.end(),
                                        [](const Ring& ring) { return ring.empty(); });
}

double ReadQueue::BusySeconds() const {
  const std::lock_guard lock(mutex_);
  return busy_seconds_ + (OnDevice() > 0 ? SecondsBetween(busy_since_, Clock::now()) : 0);
}

bool ReadQueue::Startable(ReadPriority priority) const {
  if (waiting_[Index(priority)].empty() || OnDevice() >= depth_) return false;
  if (priority == ReadPriority::kDemand) return true;
  const std::size_t demand = Index(ReadPriority::kDemand);
  const int share = std::max(depth_ / kBackgroundShare, 1);
  if (!waiting_[demand].empty()) return false;
  if (priority == ReadPriority::kSpeculative) {
    return on_device_[demand] == 0 && on_device_[Index(priority)] < share;
  }
  return on_device_[Index(priority)] < (demanded_ ? share : depth_);
}

void ReadQueue::StartWhatMay() {
  for (const ReadPriority priority :
       {ReadPriority::kDemand, ReadPriority::kBackground, ReadPriority::kSpeculative}) {
    while (Startable(priority)) {
      if (OnDevice() == 0) busy_since_ = Clock::now();
      ++on_device_[Index(priority)];
      submit_(waiting_[Index(priority)].Pop(), priority);
    }
  }
}

}  // namespace doppler
