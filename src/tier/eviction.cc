#include "tier/eviction.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace doppler {

double RankByRecency(const ExpertUse& use) { return static_cast<double>(use.last_use); }

double RankByFrequency(const ExpertUse& use) { return use.log_frequency; }

double AddUse(double log_frequency, double uses, double now, double half_life) {
  const double added = now / half_life + std::log2(uses);
  const double more = std::max(log_frequency, added);
  const double less = std::min(log_frequency, added);
  return more + std::log2(1 + std::exp2(less - more));
}

std::string_view PolicyName(PolicyKind kind) {
  return kind == PolicyKind::kRecency ? "recency" : "frequency";
}

std::optional<PolicyKind> PolicyFromName(std::string_view name) {
  for (const PolicyKind kind : {PolicyKind::kRecency, PolicyKind::kFrequency}) {
    if (name == PolicyName(kind)) return kind;
  }
  return std::nullopt;
}

EvictionPolicy PolicyOf(PolicyKind kind) {
  return kind == PolicyKind::kRecency ? RankByRecency : RankByFrequency;
}

PolicyKind DefaultPolicy(std::size_t slots, std::size_t cycle) {
  return slots >= cycle && slots <= cycle + cycle / 3 ? PolicyKind::kRecency
                                                      : PolicyKind::kFrequency;
}

EvictionQueue::EvictionQueue(std::size_t items) : place_(items, kNowhere) { heap_.reserve(items); }

void EvictionQueue::Add(std::size_t item, double rank) {
  DOPPLER_CHECK(!Contains(item));
  heap_.push_back({rank, item});
  place_[item] = heap_.size() - 1;
  Sift(heap_.size() - 1);
}

void EvictionQueue::Remove(std::size_t item) {
  DOPPLER_CHECK(Contains(item));
  const std::size_t place = place_[item];
  const Entry last = heap_.back();
  heap_.pop_back();
  place_[item] = kNowhere;
  if (place == heap_.size()) return;
  Put(place, last);
  Sift(place);
}

void EvictionQueue::Put(std::size_t place, Entry entry) {
  heap_[place] = entry;
  place_[entry.item] = place;
}

// Moves an entry up or down to where it belongs.
void EvictionQueue::Sift(std::size_t place) {
  const Entry entry = heap_[place];
  while (place > 0 && entry < heap_[(place - 1) / 2]) {
    Put(place, heap_[(place - 1) / 2]);
    place = (place - 1) / 2;
  }
  for (;;) {
    std::size_t child = 2 * place + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1] < heap_[child]) ++child;
    if (entry < heap_[child]) break;
    Put(place, heap_[child]);
    place = child;
  }
  Put(place, entry);
}

}  // namespace doppler
