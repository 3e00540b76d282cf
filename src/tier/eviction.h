// Which resident expert makes room for a missing one.
//
// A policy is a pure function that gives a record a rank when the last lease on it ends; whoever
// has the lowest goes first. EvictionQueue keeps the ranks in order, so that thousands of slots
// cost no more than a few comparisons per miss.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace doppler {

// What is known of a record when it becomes evictable.
struct ExpertUse {
  std::size_t key = 0;         // counts the records of all layers
  std::uint64_t last_use = 0;  // a clock that counts acquisitions
  // log2 of the uses so far, of which one counts half after each half-life (see AddUse).
  double log_frequency = 0;
};

// The rank of a record: the lowest is evicted first. May be called from any thread, one at a time.
using EvictionPolicy = std::function<double(const ExpertUse&)>;

// Global recency: the record that was used longest ago, whatever its layer.
double RankByRecency(const ExpertUse& use);
// The record that was used least, where old uses count less and less.
double RankByFrequency(const ExpertUse& use);

// What a slot holds. They go in this order, and by rank among equals.
enum class Standing : std::uint8_t {
  kEmpty,
  kSpeculated,  // read because a layer may want it, and not used yet
  // Brought in by prefill (UseKind::kPassing) or ahead, and not used in decode since. Those that
  // were read ahead and are still to be used go after the others.
  kPassing,
  kAside,  // used in decode, until others that are kept filled their part of the slots
  kKept,   // used in decode: it has the rank that the policy gives
};

// The ranks of those that are not kept. Of speculated ones the oldest goes first, whose layer has
// passed; of passing ones and of those read ahead the newest, so that over several rounds a part
// stays; of those set aside the one that was first.
inline constexpr double kEmptyRank = -1e301;
inline double SpeculatedRank(std::uint64_t order) {
  return -1e250 / static_cast<double>(order + 1);
}
inline constexpr double kHighestPassingRank = -1e200;
inline double PassingRank(std::uint64_t last_use) {
  return kHighestPassingRank - static_cast<double>(last_use) * 1e190;
}
inline double AheadRank(std::uint64_t last_use) {
  return -2e199 - static_cast<double>(last_use) * 1e184;
}
inline double AsideRank(std::uint64_t order) { return -1e199 / static_cast<double>(order + 1); }

// `log_frequency` with `uses` more at time `now`. Uses are kept at the weight they have at time 0,
// 2^(now / half_life), so that time alone changes nothing and ranks stay comparable.
//   half-life 10, one use at 0 and one at 10:  log2(1 + 2) = 1.58;  one use at 20: 2, so it is
//   ahead
double AddUse(double log_frequency, double uses, double now, double half_life);
// Of the engine's own counts.
inline constexpr double kDefaultHalfLifeTokens = 128;
// Of a record that was never used.
inline constexpr double kNeverUsed = -1e300;

enum class PolicyKind : std::uint8_t { kRecency, kFrequency };
std::string_view PolicyName(PolicyKind kind);
std::optional<PolicyKind> PolicyFromName(std::string_view name);
EvictionPolicy PolicyOf(PolicyKind kind);

// The policy for a pool of `slots` when one token uses `cycle` of the records: frequency, but
// recency in a pool that holds one token's records and at most a third more. With fewer slots than
// a token's cycle, recency evicts each record just before its layer comes round again and keeps
// nothing; with many, what matters is who is rarely used at all; between the two it is the last
// token that says most about the next (docs/benchmarks.md).
PolicyKind DefaultPolicy(std::size_t slots, std::size_t cycle);

// Items of a fixed number, ordered by rank. A binary heap that knows where each item stands. Does
// not allocate after construction.
class EvictionQueue {
 public:
  explicit EvictionQueue(std::size_t items);

  bool empty() const { return heap_.empty(); }
  std::size_t size() const { return heap_.size(); }
  bool Contains(std::size_t item) const { return place_[item] != kNowhere; }
  // REQUIRES: the item is not in the queue.
  void Add(std::size_t item, double rank);
  // REQUIRES: the item is in the queue.
  void Remove(std::size_t item);
  // The item of the lowest rank, of equals that with the lowest number. REQUIRES: not empty.
  std::size_t First() const { return heap_.front().item; }
  double FirstRank() const { return heap_.front().rank; }
  // REQUIRES: the item is in the queue.
  double RankOf(std::size_t item) const { return heap_[place_[item]].rank; }

 private:
  static constexpr std::size_t kNowhere = ~std::size_t{0};

  struct Entry {
    double rank;
    std::size_t item;
    bool operator<(const Entry& other) const {
      return rank < other.rank || (rank == other.rank && item < other.item);
    }
  };

  void Put(std::size_t place, Entry entry);
  void Sift(std::size_t place);

  std::vector<Entry> heap_;
  std::vector<std::size_t> place_;  // [item], in heap_
};

}  // namespace doppler
