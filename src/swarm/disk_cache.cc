#include "swarm/disk_cache.h"

#include <algorithm>
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
  const auto waited = static_cast<std::ptrdiff_t>(waiting_.size());
  for (const ShardWishes::Wish& wish : wishes) {
    const auto known = std::find_if(waiting_.begin(), waiting_.begin() + waited,
                                    [&](const auto& other) { return other.shard == wish.shard; });
    if (known == waiting_.begin() + waited) {
      waiting_.push_back(wish);
    } else {
      *known = wish;
    }
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
  const bool over = used_ > *budget_;
  // Before looking for leases: one that ends afterwards wakes, and is seen then.
  wishes_.WaitForLeases(over || UrgentWait());
  if (over || UrgentWait()) {
    TakeForUrgent(ranks);
  } else {
    TakeForGuesses(ranks);
  }
  return going_;
}

// The shards that may have to go, coldest first.
std::vector<ShardId> DiskCache::Coldest(std::span<const double> ranks) const {
  std::vector<ShardId> cold;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    if (places_[i] == Place::kHeld && sizes_[i] > 0) cold.emplace_back(i);
  }
  std::stable_sort(cold.begin(), cold.end(),
                   [ranks](ShardId a, ShardId b) { return ranks[a.index()] < ranks[b.index()]; });
  return cold;
}

// Says how many bytes go with the shard: none if it has to stay.
Bytes DiskCache::Take(ShardId shard) {
  if (!wishes_.TakeAway(shard)) return 0;
  places_[shard.index()] = Place::kGoing;
  going_.push_back(shard);
  return sizes_[shard.index()];
}

void DiskCache::TakeForUrgent(std::span<const double> ranks) {
  Bytes wanted = 0;
  for (const ShardWishes::Wish& wish : waiting_) {
    if (IsUrgent(wish)) wanted += sizes_[wish.shard.index()];
  }
  const Bytes least = used_ + wanted <= *budget_ ? 0 : used_ + wanted - *budget_;
  const Bytes most = std::max(least, wanted > 0 ? *budget_ / kPartAtOnce : 0);
  Bytes taken = 0;
  for (const ShardId shard : Coldest(ranks)) {
    if (taken >= most) return;
    taken += Take(shard);
  }
}

// The hottest guess displaces the coldest shards, and so on until a guess is the colder one.
void DiskCache::TakeForGuesses(std::span<const double> ranks) {
  const auto rank_of = [ranks](ShardId shard) { return ranks[shard.index()]; };
  std::stable_sort(waiting_.begin(), waiting_.end(), [&](const auto& a, const auto& b) {
    return rank_of(a.shard) > rank_of(b.shard);
  });
  const std::vector<ShardId> cold = Coldest(ranks);
  auto next = cold.begin();
  Bytes free = *budget_ - used_;
  auto wish = waiting_.begin();
  for (; wish != waiting_.end(); ++wish) {
    const Bytes size = sizes_[wish->shard.index()];
    while (free < size && next != cold.end() && rank_of(*next) < rank_of(wish->shard)) {
      free += Take(*next++);
    }
    if (free < size) break;
    free -= size;
  }
  for (auto dropped = wish; dropped != waiting_.end(); ++dropped) wishes_.TakeAway(dropped->shard);
  waiting_.erase(wish, waiting_.end());
}

void DiskCache::Gone() {
  for (const ShardId shard : going_) {
    places_[shard.index()] = Place::kNone;
    used_ -= sizes_[shard.index()];
  }
  going_.clear();
}

}  // namespace doppler
