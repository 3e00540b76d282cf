#include "convert/layout.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/ids.h"

namespace doppler {
namespace {

constexpr Bytes kDefaultDenseShard = 128 * kMiB;
constexpr Bytes kDefaultFixedShard = 64 * kMiB;
constexpr std::size_t kPartsOfRecord = 3;

// What is placed as a whole: a dense tensor or an expert record.
struct Unit {
  std::size_t first = 0;  // tensor
  std::size_t count = 1;
  Bytes size = 0;  // with each tensor rounded up to kDirectAlignment
  int layer = -1;
  int expert = -1;

  bool IsRecord() const { return expert >= 0; }
};

std::vector<Unit> GroupIntoUnits(std::span<const LayoutTensor> tensors) {
  std::vector<Unit> units;
  for (std::size_t i = 0; i < tensors.size();) {
    const LayoutTensor& first = tensors[i];
    Unit unit = {.first = i, .layer = first.layer, .expert = first.expert};
    if (unit.IsRecord()) unit.count = kPartsOfRecord;
    DOPPLER_CHECK(i + unit.count <= tensors.size());
    for (const LayoutTensor& tensor : tensors.subspan(i, unit.count)) {
      DOPPLER_CHECK(tensor.layer == first.layer && tensor.expert == first.expert);
      unit.size += AlignUp(tensor.size, kDirectAlignment);
    }
    units.push_back(unit);
    i += unit.count;
  }
  return units;
}

class ShardBuilder {
 public:
  ShardBuilder(std::span<const LayoutTensor> tensors, ShardType type) : tensors_(tensors) {
    shard_.type = type;
  }

  bool empty() const { return shard_.tensors.empty(); }

  // Where a unit would start and the shard's size with it.
  Bytes StartOf(const Unit& unit) const {
    return AlignUp(shard_.size, unit.IsRecord() || after_record_ ? kLeafBytes : kDirectAlignment);
  }
  Bytes SizeWith(const Unit& unit) const { return StartOf(unit) + unit.size; }

  void Add(const Unit& unit) {
    Bytes offset = StartOf(unit);
    for (std::size_t i = unit.first; i < unit.first + unit.count; ++i) {
      shard_.tensors.push_back({.tensor = i, .offset = offset});
      offset += AlignUp(tensors_[i].size, kDirectAlignment);
    }
    shard_.size = offset;
    after_record_ = unit.IsRecord();
  }

  PlannedShard Take() && { return std::move(shard_); }

 private:
  std::span<const LayoutTensor> tensors_;
  PlannedShard shard_;
  bool after_record_ = false;
};

class Planner {
 public:
  Planner(std::span<const LayoutTensor> tensors, const LayoutOptions& options)
      : tensors_(tensors), options_(options), units_(GroupIntoUnits(tensors)) {}

  std::vector<PlannedShard> Plan() {
    switch (options_.strategy) {
      case ShardingStrategy::kExpert:
        PlanDense([](const Unit& unit) { return !unit.IsRecord(); });
        PlanExperts();
        break;
      case ShardingStrategy::kLayer:
        PlanDense([](const Unit& unit) { return unit.layer < 0; });
        PlanLayers();
        break;
      case ShardingStrategy::kFixed:
        PlanFixed();
        break;
    }
    return std::move(shards_);
  }

 private:
  // Fills shards of one type in order, beginning a new one before `limit` would be exceeded.
  template <typename Filter>
  void Fill(ShardType type, Bytes limit, Filter&& filter) {
    ShardBuilder builder(tensors_, type);
    for (const Unit& unit : units_) {
      if (!filter(unit)) continue;
      if (!builder.empty() && builder.SizeWith(unit) > limit) {
        shards_.push_back(std::move(builder).Take());
        builder = ShardBuilder(tensors_, type);
      }
      builder.Add(unit);
    }
    if (!builder.empty()) shards_.push_back(std::move(builder).Take());
  }

  template <typename Filter>
  void PlanDense(Filter&& filter) {
    const Bytes limit = options_.shard_size == 0 ? kDefaultDenseShard : options_.shard_size;
    Fill(ShardType::kDense, limit, filter);
  }

  void PlanExperts() {
    for (const Unit& unit : units_) {
      if (!unit.IsRecord()) continue;
      ShardBuilder builder(tensors_, ShardType::kExpert);
      builder.Add(unit);
      shards_.push_back(std::move(builder).Take());
      shards_.back().expert_key = fmt::format("{}_{}", unit.layer, unit.expert);
    }
  }

  void PlanLayers() {
    std::map<int, ShardBuilder> layers;
    for (const bool records : {false, true}) {
      for (const Unit& unit : units_) {
        if (unit.layer < 0 || unit.IsRecord() != records) continue;
        layers.try_emplace(unit.layer, tensors_, ShardType::kLayer).first->second.Add(unit);
      }
    }
    for (auto& [layer, builder] : layers) shards_.push_back(std::move(builder).Take());
  }

  void PlanFixed() {
    const Bytes size = FixedSize();
    Fill(ShardType::kFixed, size, [](const Unit&) { return true; });
    for (PlannedShard& shard : shards_) shard.size = size;
  }

  Bytes FixedSize() const {
    Bytes largest = 0;
    Bytes total = 0;
    for (const Unit& unit : units_) {
      largest = std::max(largest, unit.size);
      total += AlignUp(unit.size, kLeafBytes);
    }
    const Bytes asked = options_.shard_size;
    if (asked == 0) return std::max(largest, std::min(kDefaultFixedShard, total));
    if (asked < largest) {
      throw UsageError(fmt::format(
          "fixed shards of {} bytes cannot hold the model's largest tensor or expert record; the "
          "smallest shard size that would do is {}",
          asked, largest));
    }
    if (asked % kDirectAlignment != 0) {
      throw UsageError(fmt::format("a shard's size must be a multiple of {}; {} would do",
                                   kDirectAlignment, AlignUp(asked, kDirectAlignment)));
    }
    return asked;
  }

  std::span<const LayoutTensor> tensors_;
  LayoutOptions options_;
  std::vector<Unit> units_;
  std::vector<PlannedShard> shards_;
};

}  // namespace

std::vector<PlannedShard> PlanLayout(std::span<const LayoutTensor> tensors,
                                     const LayoutOptions& options) {
  return Planner(tensors, options).Plan();
}

}  // namespace doppler
