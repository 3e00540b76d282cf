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
    : depth_(depth), submit_(std::move(submit)), waiting_{Ring(capacity), Ring(capacity)} {}

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
  Ring& background = waiting_[Index(ReadPriority::kBackground)];
  std::size_t promoted = 0;
  for (std::size_t left = background.size(); left > 0; --left) {
    const QueuedRead read = background.Pop();
    const bool wanted = read.slot == slot;
    promoted += wanted ? 1 : 0;
    (wanted ? waiting_[Index(ReadPriority::kDemand)] : background).Push(read);
  }
  if (promoted > 0) demanded_ = true;
  StartWhatMay();
  return promoted;
}

void ReadQueue::Stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  for (Ring& ring : waiting_) ring.Clear();
}

bool ReadQueue::Idle() const {
  const std::lock_guard lock(mutex_);
  return waiting_[0].empty() && waiting_[1].empty() && OnDevice() == 0;
}

double ReadQueue::BusySeconds() const {
  const std::lock_guard lock(mutex_);
  return busy_seconds_ + (OnDevice() > 0 ? SecondsBetween(busy_since_, Clock::now()) : 0);
}

bool ReadQueue::Startable(ReadPriority priority) const {
  if (waiting_[Index(priority)].empty() || OnDevice() >= depth_) return false;
  if (priority == ReadPriority::kDemand) return true;
  const int places = demanded_ ? std::max(depth_ / kBackgroundShare, 1) : depth_;
  return waiting_[Index(ReadPriority::kDemand)].empty() && on_device_[Index(priority)] < places;
}

void ReadQueue::StartWhatMay() {
  for (const ReadPriority priority : {ReadPriority::kDemand, ReadPriority::kBackground}) {
    while (Startable(priority)) {
      if (OnDevice() == 0) busy_since_ = Clock::now();
      ++on_device_[Index(priority)];
      submit_(waiting_[Index(priority)].Pop(), priority);
    }
  }
}

}  // namespace doppler
