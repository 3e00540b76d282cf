#include "swarm/disk_cache.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"

namespace doppler {
namespace {

// Peers have to be told, which costs them a connection: so not for every shard.
constexpr Bytes kPartAtOnce = 8;

bool IsUrgent(const ShardWishes::Wish& wish) { return wish.urgency == ShardUrgency::kNow; }

}  // namespace

DiskCache::DiskCache(std::optional<Bytes> budget, std::vector<Bytes> sizes, ShardWishes& wishes)
    : budget_(budget), sizes_(std::move(sizes)), wishes_(wishes), places_(sizes_.size()) {}

void DiskCache::Found(ShardId shard) {
  Place& place = places_[shard.index()];
  if (place != Place::kNone) return;
  place = Place::kHeld;
  used_ += sizes_[shard.index()];
}

bool DiskCache::Fits(ShardId shard) const {
  return places_[shard.index()] == Place::kNone &&
         (!budget_ || used_ + sizes_[shard.index()] <= *budget_);
}

bool DiskCache::UrgentWait() const { return !waiting_.empty() && IsUrgent(waiting_.front()); }

std::vector<ShardWishes::Wish> DiskCache::Admit(std::span<const ShardWishes::Wish> wishes) {
  for (const ShardWishes::Wish& wish : wishes) {
    std::erase_if(waiting_, [&](const auto& other) { return other.shard == wish.shard; });
    waiting_.push_back(wish);
  }
  std::stable_partition(waiting_.begin(), waiting_.end(), IsUrgent);
  std::vector<ShardWishes::Wish> admitted;
  std::vector<ShardWishes::Wish> rest;
  for (const ShardWishes::Wish& wish : waiting_) {
    // Room that an urgent one waits for is not for others.
    const bool behind = !rest.empty() && IsUrgent(rest.front()) && !IsUrgent(wish);
    if (!Holds(wish.shard) && (behind || !Fits(wish.shard))) {
      rest.push_back(wish);
      continue;
    }
    Found(wish.shard);
    admitted.push_back(wish);
  }
  waiting_ = std::move(rest);
  if (!NeedsRoom()) wishes_.WaitForLeases(false);
  return admitted;
}

bool DiskCache::NeedsRoom() const {
  return budget_ && going_.empty() && (used_ > *budget_ || !waiting_.empty());
}

std::vector<ShardId> DiskCache::Choose(std::span<const double> ranks) {
  if (!NeedsRoom()) return {};
  const auto rank_of = [ranks](ShardId shard) { return ranks[shard.index()]; };
  Bytes wanted = 0;
  double below = std::numeric_limits<double>::infinity();
  if (UrgentWait()) {
    for (const ShardWishes::Wish& wish : waiting_) {
      if (IsUrgent(wish)) wanted += sizes_[wish.shard.index()];
    }
  } else if (!waiting_.empty() && used_ <= *budget_) {
    const auto best = std::max_element(
        waiting_.begin(), waiting_.end(),
        [&](const auto& a, const auto& b) { return rank_of(a.shard) < rank_of(b.shard); });
    wanted = sizes_[best->shard.index()];
    below = rank_of(best->shard);
  }
  // Before looking for leases: one that ends afterwards wakes, and is seen then.
  wishes_.WaitForLeases(UrgentWait() || used_ > *budget_);
  const Bytes least = used_ + wanted <= *budget_ ? 0 : used_ + wanted - *budget_;
  const Bytes part = wanted > 0 ? *budget_ / kPartAtOnce : 0;
  TakeColdest(ranks, below, least, std::max(least, part));
  if (going_.empty() && !UrgentWait()) DropSoon();
  return going_;
}

// Takes shards away until `most` bytes go. Of guesses, which have a `below`, nothing goes unless
// `least` bytes do.
void DiskCache::TakeColdest(std::span<const double> ranks, double below, Bytes least, Bytes most) {
  std::vector<ShardId> cold;
  Bytes bytes = 0;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    if (places_[i] != Place::kHeld || sizes_[i] == 0 || !(ranks[i] < below)) continue;
    cold.emplace_back(i);
    bytes += sizes_[i];
  }
  if (below < std::numeric_limits<double>::infinity() && bytes < least) return;
  std::stable_sort(cold.begin(), cold.end(),
                   [ranks](ShardId a, ShardId b) { return ranks[a.index()] < ranks[b.index()]; });
  Bytes taken = 0;
  for (const ShardId shard : cold) {
    if (taken >= most) break;
    if (!wishes_.TakeAway(shard)) continue;
    places_[shard.index()] = Place::kGoing;
    going_.push_back(shard);
    taken += sizes_[shard.index()];
  }
}

void DiskCache::DropSoon() {
  for (const ShardWishes::Wish& wish : waiting_) wishes_.TakeAway(wish.shard);
  waiting_.clear();
}

void DiskCache::Gone() {
  for (const ShardId shard : going_) {
    places_[shard.index()] = Place::kNone;
    used_ -= sizes_[shard.index()];
  }
  going_.clear();
}

}  // namespace doppler
