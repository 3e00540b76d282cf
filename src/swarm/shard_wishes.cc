#include "swarm/shard_wishes.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {

ShardWishes::ShardWishes(const std::vector<bool>& has)
    : leases_(has.size()), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), entries_(has.size()) {
  if (wake_ < 0) Throw("cannot make an event descriptor: {}", std::strerror(errno));
  for (std::size_t i = 0; i < has.size(); ++i) leases_[i] = has[i] ? 0 : kAbsent;
  fresh_.reserve(has.size());
  open_.reserve(has.size());
}

ShardWishes::~ShardWishes() { ::close(wake_); }

void ShardWishes::Wake() const { ::eventfd_write(wake_, 1); }

bool ShardWishes::Lease(ShardId shard) {
  std::atomic<int>& leases = leases_[shard.index()];
  int count = leases.load();
  while (count != kAbsent && !leases.compare_exchange_weak(count, count + 1)) {
  }
  return count != kAbsent;
}

void ShardWishes::EndLease(ShardId shard) {
  if (leases_[shard.index()].fetch_sub(1) == 1 && lease_wakes_) Wake();
}

bool ShardWishes::TakeAway(ShardId shard) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[shard.index()];
  if (entry.state == State::kNow) return false;
  if (entry.state == State::kSoon) std::erase(open_, shard);
  entry.state = State::kNone;
  int unleased = 0;
  return leases_[shard.index()].compare_exchange_strong(unleased, kAbsent) || unleased == kAbsent;
}

void ShardWishes::Request(ShardId shard, ShardUrgency urgency) {
  const State wanted = urgency == ShardUrgency::kNow ? State::kNow : State::kSoon;
  {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[shard.index()];
    if (Has(shard) || entry.state >= wanted) return;
    if (entry.state == State::kNone) open_.push_back(shard);
    entry.state = wanted;
    if (wanted == State::kNow) {
      entry.since = Clock::now();
      CountNow(1);
    }
    if (!entry.is_new) fresh_.push_back(shard);
    entry.is_new = true;
  }
  Wake();
}

std::vector<ShardWishes::Wish> ShardWishes::TakeNew() {
  eventfd_t count = 0;
  ::eventfd_read(wake_, &count);
  std::vector<Wish> wishes;
  const std::lock_guard lock(mutex_);
  for (const ShardId shard : fresh_) {
    Entry& entry = entries_[shard.index()];
    entry.is_new = false;
    if (entry.state == State::kNone) continue;
    wishes.push_back(
        {shard, entry.state == State::kNow ? ShardUrgency::kNow : ShardUrgency::kSoon});
  }
  fresh_.clear();
  return wishes;
}

std::vector<ShardWishes::Wish> ShardWishes::All() const {
  std::vector<Wish> wishes;
  const std::lock_guard lock(mutex_);
  for (const ShardId shard : open_) {
    const bool now = entries_[shard.index()].state == State::kNow;
    wishes.push_back({shard, now ? ShardUrgency::kNow : ShardUrgency::kSoon});
  }
  return wishes;
}

int ShardWishes::AskedBefore(ShardId shard) const {
  const std::lock_guard lock(mutex_);
  const auto end = std::find(open_.begin(), open_.end(), shard);
  return static_cast<int>(std::count_if(open_.begin(), end, [this](ShardId other) {
    return entries_[other.index()].state == State::kNow;
  }));
}

ShardWishes::Arrival ShardWishes::Came(ShardId shard) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[shard.index()];
  leases_[shard.index()] = 0;
  const Arrival arrival = {
      .demanded = entry.state == State::kNow,
      .seconds = entry.state == State::kNow ? SecondsBetween(entry.since, Clock::now()) : 0};
  if (arrival.demanded) CountNow(-1);
  if (entry.state != State::kNone) std::erase(open_, shard);
  entry.state = State::kNone;
  return arrival;
}

// REQUIRES: mutex_ is held.
void ShardWishes::CountNow(int more) {
  const Clock::time_point now = Clock::now();
  if (now_ == 0) waiting_since_ = now;
  now_ += more;
  if (now_ == 0) waiting_seconds_ += SecondsBetween(waiting_since_, now);
}

double ShardWishes::WaitingSeconds() const {
  const std::lock_guard lock(mutex_);
  return waiting_seconds_ + (now_ > 0 ? SecondsBetween(waiting_since_, Clock::now()) : 0);
}

std::vector<ShardId> ShardWishes::Expire(Clock::time_point before) {
  std::vector<ShardId> expired;
  const std::lock_guard lock(mutex_);
  for (const ShardId shard : open_) {
    Entry& entry = entries_[shard.index()];
    if (entry.state != State::kNow || entry.since > before) continue;
    entry.state = State::kSoon;
    CountNow(-1);
    expired.push_back(shard);
  }
  return expired;
}

}  // namespace doppler
