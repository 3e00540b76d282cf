#include "format/manifest.h"

#include <array>
#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "backend/row_groups.h"
#include "base/error.h"

namespace doppler {
namespace {

constexpr std::array<std::string_view, 3> kStrategyNames = {"expert", "layer", "fixed"};
constexpr std::array<std::string_view, 4> kShardTypeNames = {"dense", "expert", "layer", "fixed"};
constexpr std::array<std::string_view, 4> kLayoutNames = {"row", "column", "rows16",
                                                          "rows16-steps"};

template <typename Enum, std::size_t N>
std::string_view NameOf(Enum value, const std::array<std::string_view, N>& names) {
  return names[static_cast<std::size_t>(value)];
}

template <typename Enum, std::size_t N>
std::optional<Enum> FromName(std::string_view name, const std::array<std::string_view, N>& names) {
  for (std::size_t i = 0; i < N; ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

std::string Quoted(const std::string& text) { return nlohmann::json(text).dump(); }

std::string ShardLine(std::size_t index, const ShardEntry& shard) {
  const std::string key =
      shard.expert_key.empty() ? "" : fmt::format(" \"expertKey\": {},", Quoted(shard.expert_key));
  return fmt::format(
      R"(    {{ "index": {}, "file": {}, "type": "{}",{} "size": {}, "hash": "{}" }})", index,
      Quoted(shard.file), NameOf(shard.type, kShardTypeNames), key, shard.size, ToHex(shard.hash));
}

std::string TensorLine(const std::string& name, const TensorEntry& tensor) {
  std::string slice;
  if (tensor.slice) {
    slice =
        fmt::format(R"(, "originalShape": [{}], "sliceDim": {}, "sliceIdx": {}, "sliceCount": {})",
                    fmt::join(tensor.slice->original_shape, ", "), tensor.slice->dim,
                    tensor.slice->index, tensor.slice->count);
  }
  return fmt::format(
      R"(    {}: {{ "shard": {}, "offset": {}, "size": {}, "shape": [{}], "dtype": "{}", )"
      R"("layout": "{}"{} }})",
      Quoted(name), tensor.shard.value, tensor.offset, tensor.size, fmt::join(tensor.shape, ", "),
      DTypeName(tensor.dtype), LayoutName(tensor.layout), slice);
}

// Checks one after the other the properties of a record, naming the expert.
class RecordChecker {
 public:
  RecordChecker(const Manifest& manifest, LayerId layer, ExpertId expert)
      : manifest_(manifest), layer_(layer), expert_(expert) {}

  void Check(const ExpertRecord& record) const {
    const auto same_shard = [&](const TensorEntry& part) { return part.shard == record.shard; };
    Require(same_shard(record.up) && same_shard(record.down), "its parts are in several shards");
    for (const TensorEntry* part : {&record.gate, &record.up, &record.down}) {
      Require(!part->slice && part->layout != WeightLayout::kColumn && part->shape.size() == 2,
              "a part is not a whole matrix in rows");
      Require(part->offset % kDirectAlignment == 0, "a part is not on a 4096-byte boundary");
    }
    Require(Follows(record.gate, record.up) && Follows(record.up, record.down),
            "gate, up and down do not follow one another");
    const auto& gate = record.gate.shape;
    Require(record.up.shape == gate && record.down.shape[0] == gate[1] &&
                record.down.shape[1] == gate[0],
            "the shapes of gate, up and down do not fit together");
    const ShardEntry& shard = manifest_.shards[record.shard.index()];
    Require(record.offset + record.size <= shard.size, "it reaches beyond its shard");
    if (shard.type == ShardType::kExpert) {
      Require(record.offset == 0 && record.size == shard.size, "it does not fill its shard");
    } else {
      Require(record.offset % kLeafBytes == 0, "it does not start on a leaf of its shard");
    }
  }

 private:
  static bool Follows(const TensorEntry& before, const TensorEntry& after) {
    return after.offset == AlignUp(before.offset + before.size, kDirectAlignment);
  }

  void Require(bool condition, const char* problem) const {
    if (condition) return;
    Throw("model '{}': the record of expert {} in layer {} is not valid: {}; convert it again",
          manifest_.model_id, expert_.value, layer_.value, problem);
  }

  const Manifest& manifest_;
  LayerId layer_;
  ExpertId expert_;
};

}  // namespace

ExpertPlace PlaceOfExpert(const ShardEntry& shard) {
  const std::string& key = shard.expert_key;
  const std::size_t middle = key.find('_');
  DOPPLER_CHECK(shard.type == ShardType::kExpert && middle != std::string::npos);
  ExpertPlace place;
  std::from_chars(key.data(), key.data() + middle, place.layer);
  std::from_chars(key.data() + middle + 1, key.data() + key.size(), place.expert);
  return place;
}

std::string_view StrategyName(ShardingStrategy strategy) {
  return NameOf(strategy, kStrategyNames);
}
std::optional<ShardingStrategy> StrategyFromName(std::string_view name) {
  return FromName<ShardingStrategy>(name, kStrategyNames);
}
std::string_view ShardTypeName(ShardType type) { return NameOf(type, kShardTypeNames); }
std::optional<ShardType> ShardTypeFromName(std::string_view name) {
  return FromName<ShardType>(name, kShardTypeNames);
}
std::string_view LayoutName(WeightLayout layout) { return NameOf(layout, kLayoutNames); }
std::optional<WeightLayout> LayoutFromName(std::string_view name) {
  return FromName<WeightLayout>(name, kLayoutNames);
}

const TensorEntry& Manifest::Tensor(const std::string& name) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    Throw("model '{}' has no tensor '{}'; convert its checkpoint again", model_id, name);
  }
  return found->second;
}

std::string SerializeManifest(const Manifest& manifest) {
  std::vector<std::string> shards;
  for (std::size_t i = 0; i < manifest.shards.size(); ++i) {
    shards.push_back(ShardLine(i, manifest.shards[i]));
  }
  std::vector<std::string> tensors;
  for (const auto& [name, tensor] : manifest.tensors) tensors.push_back(TensorLine(name, tensor));
  return fmt::format(
      "{{\n  \"format\": \"rdrr\",\n  \"version\": 1,\n  \"modelId\": {},\n"
      "  \"architecture\": {},\n  \"shardingStrategy\": \"{}\",\n"
      "  \"defaultWeightLayout\": \"{}\",\n  \"shards\": [\n{}\n  ],\n  \"tensors\": {{\n{}\n  }}\n"
      "}}\n",
      Quoted(manifest.model_id), nlohmann::json::parse(manifest.architecture).dump(),
      StrategyName(manifest.strategy), LayoutName(manifest.default_layout),
      fmt::join(shards, ",\n"), fmt::join(tensors, ",\n"));
}

std::string LeavesFileOf(const ShardEntry& shard) {
  constexpr std::string_view kSuffix = ".bin";
  std::string_view stem = shard.file;
  if (stem.ends_with(kSuffix)) stem.remove_suffix(kSuffix.size());
  return std::string(stem) + ".leaves";
}

std::size_t NodeCount(const ShardEntry& shard) {
  if (shard.type != ShardType::kExpert || shard.size <= kNodeBytes) return 0;
  return static_cast<std::size_t>((shard.size + kNodeBytes - 1) / kNodeBytes);
}

std::optional<Bytes> TensorBytes(DType dtype, std::span<const std::int64_t> shape,
                                 WeightLayout layout) {
  if (layout == WeightLayout::kRow) return TensorBytes(dtype, shape);
  if (shape.size() != 2 || HasScaleGrid(dtype)) return std::nullopt;
  if (IsGrouped(layout)) {
    return CanGroupRows(dtype, shape[0], layout) ? TensorBytes(dtype, shape) : std::nullopt;
  }
  return TensorBytes(dtype, std::array{shape[1], shape[0]});
}

ExpertTensorNames ExpertNames(LayerId layer, ExpertId expert) {
  const std::string prefix = fmt::format("layers.{}.mlp.experts.{}.", layer.value, expert.value);
  return {.gate = prefix + "gate_proj.weight",
          .up = prefix + "up_proj.weight",
          .down = prefix + "down_proj.weight"};
}

ExpertRecord FindExpertRecord(const Manifest& manifest, LayerId layer, ExpertId expert) {
  const ExpertTensorNames names = ExpertNames(layer, expert);
  ExpertRecord record;
  record.gate = manifest.Tensor(names.gate);
  record.up = manifest.Tensor(names.up);
  record.down = manifest.Tensor(names.down);
  record.shard = record.gate.shard;
  record.offset = record.gate.offset;
  const Bytes end = AlignUp(record.down.offset + record.down.size, kDirectAlignment);
  record.size = end - record.offset;
  RecordChecker(manifest, layer, expert).Check(record);
  return record;
}

}  // namespace doppler
