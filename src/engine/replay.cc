#include "engine/replay.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace doppler {
namespace {

constexpr std::array<std::pair<ReplayPolicy, std::string_view>, 5> kNames = {{
    {ReplayPolicy::kDefault, "default"},
    {ReplayPolicy::kRecency, "recency"},
    {ReplayPolicy::kFrequency, "frequency"},
    {ReplayPolicy::kLayers, "layers"},
    {ReplayPolicy::kOptimal, "optimal"},
}};

constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();

std::size_t MoeLayers(const TraceModel& model) {
  std::size_t layers = 0;
  for (const int experts : model.experts_of_layer) layers += experts > 0 ? 1 : 0;
  return layers;
}

std::vector<std::size_t> FirstKeys(const TraceModel& model) {
  std::vector<std::size_t> first = {0};
  for (const int experts : model.experts_of_layer) {
    first.push_back(first.back() + static_cast<std::size_t>(experts));
  }
  return first;
}

// The cache of tier/expert_cache.h without its bytes: the same order of events, the same ranks.
class Simulation {
 public:
  Simulation(const ExpertTrace& trace, const ReplayOptions& options)
      : trace_(trace),
        options_(options),
        layers_(MoeLayers(trace.model)),
        first_key_(FirstKeys(trace.model)),
        records_(trace.model.Records()),
        half_life_(options.half_life_tokens * static_cast<double>(layers_)),
        queue_(trace.model.Records()) {
    if (options_.policy == ReplayPolicy::kOptimal) FindNextUses();
  }

  ReplayResult Run() {
    for (std::size_t i = 0; i < trace_.uses.size(); ++i) Page(i);
    return result_;
  }

 private:
  struct Record {
    bool resident = false;
    bool pinned = false;
    bool passing = false;
    std::uint64_t last_use = 0;
    std::size_t next_use = kNever;
    double log_frequency = kNeverUsed;
  };

  std::size_t Key(const TraceUse& use, int expert) const {
    return first_key_[static_cast<std::size_t>(use.layer)] + static_cast<std::size_t>(expert);
  }

  // For each use and expert, when that record is wanted next.
  void FindNextUses() {
    std::vector<std::size_t> next(records_.size(), kNever);
    next_uses_.resize(trace_.uses.size());
    for (std::size_t i = trace_.uses.size(); i-- > 0;) {
      for (const int expert : trace_.uses[i].experts) {
        std::size_t& of_record = next[Key(trace_.uses[i], expert)];
        next_uses_[i].push_back(of_record);
        of_record = i;
      }
    }
  }

  double Rank(const Record& record) const {
    if (options_.policy == ReplayPolicy::kOptimal) {
      return record.next_use == kNever ? -std::numeric_limits<double>::infinity()
                                       : -static_cast<double>(record.next_use);
    }
    if (record.passing) return PassingRank(record.last_use);
    const ExpertUse use{.last_use = record.last_use, .log_frequency = record.log_frequency};
    return PolicyOf(options_.policy == ReplayPolicy::kFrequency ? PolicyKind::kFrequency
                                                                : PolicyKind::kRecency)(use);
  }

  void Page(std::size_t index) {
    const TraceUse& use = trace_.uses[index];
    ++clock_;
    const bool decode = use.tokens == 1;
    const bool passing = !decode && use.experts.size() * layers_ > options_.slots;
    const bool together = use.experts.size() <= options_.slots;
    for (const bool resident : {true, false}) {
      for (std::size_t i = 0; i < use.experts.size(); ++i) {
        const std::size_t key = Key(use, use.experts[i]);
        Record& record = records_[key];
        if (record.resident != resident || record.pinned) continue;
        Use(record, key, decode, passing);
        if (!next_uses_.empty()) record.next_use = next_uses_[index][i];
        // More experts than slots follow one another through them.
        if (!together && !resident) Unpin(key);
      }
    }
    for (const int expert : use.experts) Unpin(Key(use, expert));
  }

  void Use(Record& record, std::size_t key, bool decode, bool passing) {
    ++result_.uses;
    result_.hits += record.resident ? 1 : 0;
    result_.decode_uses += decode ? 1 : 0;
    result_.decode_hits += decode && record.resident ? 1 : 0;
    if (record.resident) {
      queue_.Remove(key);
    } else {
      MakeRoom();
      record.resident = true;
      record.passing = passing;
      ++resident_;
    }
    record.pinned = true;
    if (!passing) record.passing = false;
    if (!passing || record.passing) record.last_use = clock_;
    record.log_frequency = AddUse(record.log_frequency, 1, static_cast<double>(clock_), half_life_);
  }

  void MakeRoom() {
    if (resident_ < options_.slots) return;
    // Where all is pinned, an expert of this very use has been computed and goes.
    if (queue_.empty()) UnpinAny();
    const std::size_t victim = queue_.First();
    queue_.Remove(victim);
    records_[victim].resident = false;
    --resident_;
  }

  void UnpinAny() {
    for (std::size_t key = 0; key < records_.size(); ++key) {
      if (!records_[key].pinned) continue;
      Unpin(key);
      return;
    }
  }

  void Unpin(std::size_t key) {
    if (!records_[key].pinned) return;
    records_[key].pinned = false;
    queue_.Add(key, Rank(records_[key]));
  }

  const ExpertTrace& trace_;
  const ReplayOptions& options_;
  const std::size_t layers_;
  const std::vector<std::size_t> first_key_;  // [layer]
  std::vector<Record> records_;               // [key]
  const double half_life_;
  EvictionQueue queue_;  // records that are resident and not pinned
  std::vector<std::vector<std::size_t>> next_uses_;
  std::size_t resident_ = 0;
  std::uint64_t clock_ = 0;
  ReplayResult result_;
};

void Add(const ReplayResult& part, ReplayResult& whole) {
  whole.uses += part.uses;
  whole.hits += part.hits;
  whole.decode_uses += part.decode_uses;
  whole.decode_hits += part.decode_hits;
}

// Every layer for itself, with its share of the slots.
std::optional<ReplayResult> ReplayLayers(const ExpertTrace& trace, const ReplayOptions& options) {
  const std::size_t layers = MoeLayers(trace.model);
  ReplayResult whole;
  for (std::size_t layer = 0; layer < trace.model.experts_of_layer.size(); ++layer) {
    if (trace.model.experts_of_layer[layer] == 0) continue;
    ExpertTrace part{.model = trace.model, .uses = {}};
    std::fill(part.model.experts_of_layer.begin(), part.model.experts_of_layer.end(), 0);
    part.model.experts_of_layer[layer] = trace.model.experts_of_layer[layer];
    for (const TraceUse& use : trace.uses) {
      if (use.layer == static_cast<int>(layer)) part.uses.push_back(use);
    }
    const std::optional<ReplayResult> result =
        Replay(part, {.policy = ReplayPolicy::kRecency, .slots = options.slots / layers});
    if (!result) return std::nullopt;
    Add(*result, whole);
  }
  return whole;
}

ReplayPolicy Resolve(ReplayPolicy policy, std::size_t slots, const TraceModel& model) {
  if (policy != ReplayPolicy::kDefault) return policy;
  const std::size_t cycle = MoeLayers(model) * static_cast<std::size_t>(model.experts_per_token);
  return DefaultPolicy(slots, cycle) == PolicyKind::kRecency ? ReplayPolicy::kRecency
                                                             : ReplayPolicy::kFrequency;
}

}  // namespace

std::string_view ReplayPolicyName(ReplayPolicy policy) {
  for (const auto& [known, name] : kNames) {
    if (known == policy) return name;
  }
  return "";
}

std::optional<ReplayPolicy> ReplayPolicyFromName(std::string_view name) {
  for (const auto& [policy, known] : kNames) {
    if (known == name) return policy;
  }
  return std::nullopt;
}

std::optional<ReplayResult> Replay(const ExpertTrace& trace, const ReplayOptions& options) {
  const auto needed = static_cast<std::size_t>(std::max(trace.model.experts_per_token, 1));
  if (options.slots < needed) return std::nullopt;
  ReplayOptions resolved = options;
  resolved.policy = Resolve(options.policy, options.slots, trace.model);
  if (resolved.policy == ReplayPolicy::kLayers) return ReplayLayers(trace, resolved);
  return Simulation(trace, resolved).Run();
}

}  // namespace doppler
