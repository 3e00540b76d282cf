#include "tier/expert_source.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"

namespace doppler {
namespace {

const TensorEntry& TensorOf(const ExpertRecord& record, ExpertPart part) {
  switch (part) {
    case ExpertPart::kGate:
      return record.gate;
    case ExpertPart::kUp:
      return record.up;
    case ExpertPart::kDown:
      break;
  }
  return record.down;
}

ExpertSource SourceOf(const Artifact& artifact, LayerId layer, ExpertId expert, Bytes step) {
  ExpertSource source;
  source.record = FindExpertRecord(artifact.manifest(), layer, expert);
  source.extent = artifact.Cover(source.record.shard, source.record.offset, source.record.size);
  const Bytes grain = artifact.Grain(source.record.shard);
  source.step = step;
  source.checked_whole = step % grain != 0 && source.extent.size > step;
  return source;
}

}  // namespace

Extent ExpertSource::StepExtent(std::size_t index) const {
  const Bytes begin = index * step;
  return {.shard = extent.shard,
          .offset = extent.offset + begin,
          .size = std::min(step, extent.size - begin)};
}

bool ExpertSource::StepHolds(std::size_t index, ExpertPart part) const {
  const Extent read = StepExtent(index);
  const TensorEntry& tensor = TensorOf(record, part);
  return read.offset < tensor.offset + tensor.size && tensor.offset < read.offset + read.size;
}

ExpertTable FindExperts(const Artifact& artifact, std::span<const int> experts_of_layer,
                        Bytes step) {
  ExpertTable table(experts_of_layer.size());
  for (std::size_t layer = 0; layer < table.size(); ++layer) {
    for (int expert = 0; expert < experts_of_layer[layer]; ++expert) {
      table[layer].push_back(SourceOf(artifact, LayerId(layer), ExpertId(expert), step));
    }
  }
  return table;
}

std::vector<SlotClass> SlotClassesOf(const ExpertTable& table) {
  std::map<Bytes, std::size_t, std::greater<>> sizes;
  for (const std::vector<ExpertSource>& layer : table) {
    for (const ExpertSource& source : layer) ++sizes[source.SlotBytes()];
  }
  std::vector<SlotClass> classes;
  for (const auto& [bytes, records] : sizes) {
    if (!classes.empty() && bytes > classes.back().bytes - classes.back().bytes / 16) {
      classes.back().records += records;
    } else {
      classes.push_back({bytes, records});
    }
  }
  return classes;
}

std::size_t ClassOf(std::span<const SlotClass> classes, Bytes record) {
  std::size_t found = 0;
  DOPPLER_CHECK(!classes.empty() && classes[0].bytes >= record);
  while (found + 1 < classes.size() && classes[found + 1].bytes >= record) ++found;
  return found;
}

std::vector<std::size_t> DealSlots(std::span<const SlotClass> classes, std::size_t needed,
                                   Bytes budget, std::size_t most, Bytes (*overhead)(Bytes)) {
  if (classes.empty()) return {};
  const auto cost = [overhead](const SlotClass& slots) {
    return slots.bytes + overhead(slots.bytes);
  };
  if (needed > most || needed * cost(classes[0]) > budget) return {};
  std::vector<std::size_t> dealt(classes.size(), 0);
  dealt[0] = needed;
  std::size_t total = needed;
  budget -= needed * cost(classes[0]);
  while (total < most) {
    std::size_t next = classes.size();
    for (std::size_t i = 0; i < classes.size(); ++i) {
      if (dealt[i] >= classes[i].records || cost(classes[i]) > budget) continue;
      const bool fewer = next == classes.size() ||
                         dealt[i] * classes[next].records < dealt[next] * classes[i].records;
      if (fewer) next = i;
    }
    if (next == classes.size()) break;
    ++dealt[next];
    ++total;
    budget -= cost(classes[next]);
  }
  return dealt;
}

}  // namespace doppler
