#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/commands.h"
#include "apps/report.h"
#include "model/config.h"
#include "store/artifact.h"
#include "store/local_store.h"

namespace doppler {
namespace {

struct Group {
  std::size_t count = 0;
  Bytes bytes = 0;
};

struct Summary {
  std::map<std::string, Group> shards;   // by type
  std::map<std::string, Group> formats;  // of tensors, by name
  std::map<std::string, Group> layouts;  // of tensors, by name
  Group all_shards;
  std::uint64_t parameters = 0;
};

void Count(Group& group, Bytes bytes) {
  ++group.count;
  group.bytes += bytes;
}

Summary Summarize(const Manifest& manifest) {
  Summary summary;
  for (const ShardEntry& shard : manifest.shards) {
    Count(summary.shards[std::string(ShardTypeName(shard.type))], shard.size);
    Count(summary.all_shards, shard.size);
  }
  for (const auto& [name, tensor] : manifest.tensors) {
    Count(summary.formats[std::string(DTypeName(tensor.dtype))], tensor.size);
    Count(summary.layouts[std::string(LayoutName(tensor.layout))], tensor.size);
    summary.parameters += ElementCount(tensor.shape);
  }
  return summary;
}

OrderedJson GroupsToJson(const std::map<std::string, Group>& groups) {
  OrderedJson json = OrderedJson::object();
  for (const auto& [name, group] : groups) {
    json[name] = {{"count", group.count}, {"bytes", group.bytes}};
  }
  return json;
}

OrderedJson TensorsToJson(const Manifest& manifest) {
  OrderedJson json = OrderedJson::object();
  for (const auto& [name, tensor] : manifest.tensors) {
    json[name] = {{"shard", tensor.shard.value},
                  {"offset", tensor.offset},
                  {"size", tensor.size},
                  {"shape", tensor.shape},
                  {"dtype", DTypeName(tensor.dtype)},
                  {"layout", LayoutName(tensor.layout)}};
  }
  return json;
}

void PrintText(const Artifact& artifact, const ModelConfig& config, const Summary& summary,
               bool tensors) {
  const Manifest& manifest = artifact.manifest();
  fmt::print("model       {} ({}), {:.1f} M parameters\n", manifest.model_id, config.family,
             static_cast<double>(summary.parameters) / 1e6);
  fmt::print("id          {}\n", ToHex(artifact.id()));
  fmt::print("layers      {} of dimension {}, {} heads and {} KV heads of {}\n", config.num_layers,
             config.model_dim, config.num_heads, config.num_kv_heads, config.head_dim);
  if (config.num_experts > 0) {
    fmt::print("experts     {} in each of {} layers, {} per token\n", config.num_experts,
               config.NumMoeLayers(), config.experts_per_token);
  }
  fmt::print("vocabulary  {}, context {}\n", config.vocab_size, config.context_length);
  fmt::print("sharding    {}, {} shards, {}\n", StrategyName(manifest.strategy),
             summary.all_shards.count, FormatSize(summary.all_shards.bytes));
  for (const auto& [type, group] : summary.shards) {
    fmt::print("  {:<8}  {:>6} shards   {:>10}\n", type, group.count, FormatSize(group.bytes));
  }
  fmt::print("tensors     {}\n", manifest.tensors.size());
  for (const auto& [name, group] : summary.formats) {
    fmt::print("  {:<8}  {:>6} tensors  {:>10}\n", name, group.count, FormatSize(group.bytes));
  }
  fmt::print("layouts\n");
  for (const auto& [name, group] : summary.layouts) {
    fmt::print("  {:<8}  {:>6} tensors  {:>10}\n", name, group.count, FormatSize(group.bytes));
  }
  if (!tensors) return;
  for (const auto& [name, tensor] : manifest.tensors) {
    fmt::print("{}  [{}]  {}  {}  shard {} at {}\n", name, fmt::join(tensor.shape, ", "),
               DTypeName(tensor.dtype), LayoutName(tensor.layout), tensor.shard.value,
               tensor.offset);
  }
}

}  // namespace

void RunInspect(const InspectCommand& command) {
  const std::filesystem::path folder = ResolveModel(command.model);
  const Artifact artifact(folder);
  const Manifest& manifest = artifact.manifest();
  const ModelConfig config =
      ConfigFromJson(manifest.architecture, (folder / "manifest.json").string());
  const Summary summary = Summarize(manifest);
  if (!command.json) {
    PrintText(artifact, config, summary, command.tensors);
    return;
  }
  OrderedJson json = {{"model", manifest.model_id},
                      {"id", ToHex(artifact.id())},
                      {"architecture", OrderedJson::parse(ConfigToJson(config))},
                      {"parameters", summary.parameters},
                      {"sharding", StrategyName(manifest.strategy)},
                      {"bytes", summary.all_shards.bytes},
                      {"shards", GroupsToJson(summary.shards)},
                      {"formats", GroupsToJson(summary.formats)},
                      {"layouts", GroupsToJson(summary.layouts)}};
  if (command.tensors) json["tensors"] = TensorsToJson(manifest);
  PrintJson(json);
}

}  // namespace doppler
