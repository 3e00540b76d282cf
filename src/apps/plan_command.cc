#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/commands.h"
#include "apps/report.h"
#include "base/error.h"
#include "convert/hub_quantization.h"
#include "engine/estimate.h"
#include "io/file.h"
#include "io/machine.h"
#include "io/probe.h"
#include "store/local_store.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// Assumed without --probe: a laptop's memory and a common solid-state disk.
constexpr double kAssumedMemoryRate = 15e9;
constexpr double kAssumedDiskRate = 1e9;

struct Rates {
  double memory = kAssumedMemoryRate;
  double disk = kAssumedDiskRate;
  bool memory_measured = false;
  bool disk_measured = false;
};

// A model, from an artifact or from its configuration, and the plan for it.
struct PlannedModel {
  std::string name;
  ModelConfig config;
  ModelSizes sizes;
  PlanResult result;
  std::string backend;
  std::string cpu_path;
  fs::path place;                // whose disk is looked at
  std::vector<fs::path> shards;  // to probe the disk with
  // Of the expert shards, if they are opened on demand.
  std::size_t expert_shards = 0;
  std::optional<std::size_t> expert_shards_open;
};

// As many shards, evenly spread, as may be open at once.
std::vector<fs::path> ShardsToProbe(const Artifact& artifact) {
  const std::size_t count = artifact.manifest().shards.size();
  const std::size_t closed =
      artifact.files().expert_shards() - artifact.files().most_expert_files();
  std::vector<fs::path> shards;
  for (std::size_t i = 0; i < count - closed; ++i) {
    shards.push_back(artifact.files().path(ShardId(i * count / (count - closed))));
  }
  return shards;
}

PlannedModel PlanArtifact(const PlanCommand& command) {
  const fs::path folder = ResolveModel(command.model);
  const PreparedModel prepared(folder, command.engine);
  const ShardFiles& files = prepared.artifact.files();
  PlannedModel planned{.name = prepared.artifact.manifest().model_id,
                       .config = prepared.config,
                       .sizes = prepared.sizes,
                       .result = prepared.Plan(command.engine),
                       .backend = std::string(prepared.backend->name()),
                       .cpu_path = std::string(prepared.backend->path()),
                       .place = folder,
                       .shards = ShardsToProbe(prepared.artifact),
                       .expert_shards = files.expert_shards(),
                       .expert_shards_open = std::nullopt};
  if (files.on_demand()) planned.expert_shards_open = files.most_expert_files();
  return planned;
}

// What `convert` would make of the checkpoint: formats that are quantised already stay.
FormatOf FormatsOf(const ModelConfig& config, HubQuantization published,
                   std::optional<DType> quantize) {
  return [published, from_float = FormatsFromBf16(config, quantize),
          quantize](const TensorSpec& spec) {
    const DType stored = PublishedFormat(published, spec);
    return IsFloat(stored) || (quantize && HasScaleGrid(stored)) ? from_float(spec) : stored;
  };
}

PlannedModel PlanConfig(const PlanCommand& command) {
  const fs::path file = command.config_file;
  const std::string text = ReadTextFile(file);
  const ModelConfig config = ConfigFromHub(text, file.string());
  const HubQuantization published = ParseHubQuantization(text, file.string());
  CheckContext(command.engine, config);
  ThreadPool pool(1);
  const auto backend = MakeBackend(command.engine.backend, command.engine.cpu_path, pool);
  const ModelSizes sizes = SizesOfConfig(config, FormatsOf(config, published, command.quantize));
  const Bytes budget = BudgetOf(command.engine);
  const PlanRequest request{.budget = budget,
                            .process = ProcessBytes(CurrentResidentBytes()),
                            .context = command.engine.context,
                            .ubatch = command.engine.ubatch,
                            .kv_dtype = command.engine.kv_dtype};
  return {.name = file.string(),
          .config = config,
          .sizes = sizes,
          .result = PlanMemory(
              config, sizes, request,
              [&backend](const KernelLimits& limits) { return backend->ScratchBytes(limits); }),
          .backend = std::string(backend->name()),
          .cpu_path = std::string(backend->path()),
          .place = fs::current_path(),
          .shards = {},
          .expert_shards_open = std::nullopt};
}

Rates Measure(const PlanCommand& command, const PlannedModel& planned,
              const ProcessorInfo& processor) {
  Rates rates;
  if (!command.probe) return rates;
  rates.memory = ProbeMemory({.threads = processor.threads,
                              .buffer = MemoryProbeBuffer(processor.LastLevelCache())})
                     .bytes_per_second();
  rates.memory_measured = true;
  if (planned.shards.empty()) return rates;
  rates.disk = ProbeDisk(planned.shards).bytes_per_second();
  rates.disk_measured = true;
  return rates;
}

SpeedEstimate Estimate(const PlannedModel& planned, const Rates& rates) {
  SpeedInputs inputs = SpeedInputsOf(planned.config, planned.sizes, *planned.result.plan);
  inputs.memory_rate = rates.memory;
  inputs.disk_rate = rates.disk;
  return EstimateSpeed(inputs);
}

OrderedJson MachineToJson(const MachineInfo& machine, const DiskInfo& disk, const Rates& rates) {
  const auto rate = [](bool measured, double value) {
    return measured ? OrderedJson(value) : OrderedJson(nullptr);
  };
  return {
      {"processor", machine.processor.model},
      {"threads", machine.processor.threads},
      {"features", machine.processor.features},
      {"physical_bytes", machine.memory.physical},
      {"available_bytes", machine.memory.available},
      {"container_limit_bytes",
       machine.memory.cgroup ? OrderedJson(machine.memory.cgroup->limit) : OrderedJson(nullptr)},
      {"usable_bytes", machine.memory.usable},
      {"memory_bytes_per_second", rate(rates.memory_measured, rates.memory)},
      {"disk_device", disk.device},
      {"disk_file_system", disk.file_system},
      {"disk_free_bytes", disk.free},
      {"disk_bytes_per_second", rate(rates.disk_measured, rates.disk)},
      {"accelerators", OrderedJson::array()},
      {"unified_memory", machine.unified_memory}};
}

OrderedJson ToJson(const PlannedModel& planned, const MachineInfo& machine, const DiskInfo& disk,
                   const Rates& rates) {
  const ModelCounts counts = CountsOf(planned.config, planned.sizes);
  OrderedJson json = {
      {"model", planned.name},
      {"family", planned.config.family},
      {"backend", planned.backend},
      {"cpu_path", planned.cpu_path},
      {"machine", MachineToJson(machine, disk, rates)},
      {"parameters", counts.parameters},
      {"active_parameters", counts.active_parameters},
      {"total_bytes", planned.sizes.dense + planned.sizes.experts_total},
      {"active_bytes", counts.active},
      {"token_read_bytes", counts.token_read},
      {"kv_bytes_per_1k_tokens", counts.kv_per_1k},
      {"dense_bytes", planned.sizes.dense},
      {"expert_bytes", planned.sizes.experts_total},
      {"expert_record_bytes", planned.sizes.LargestRecord()},
      {"smallest_budget_bytes", planned.result.smallest},
      {"expert_shards_open", planned.expert_shards_open ? OrderedJson(*planned.expert_shards_open)
                                                        : OrderedJson(nullptr)},
      {"plan", nullptr}};
  if (!planned.result.plan) return json;
  const SpeedEstimate estimate = Estimate(planned, rates);
  json["plan"] = PlanToJson(*planned.result.plan);
  json["expected"] = {{"expert_hit_rate", estimate.hit_rate},
                      {"compute_seconds_per_token", estimate.compute_seconds},
                      {"read_seconds_per_token", estimate.read_seconds},
                      {"stream_seconds_per_token", estimate.stream_seconds},
                      {"decode_tokens_per_second", estimate.tokens_per_second}};
  return json;
}

std::string RateText(bool measured, double rate) {
  return fmt::format("{:.1f} GB/s {}", rate / 1e9, measured ? "measured" : "assumed (see --probe)");
}

void PrintWeights(const PlannedModel& planned) {
  const ModelCounts counts = CountsOf(planned.config, planned.sizes);
  fmt::print("weights      {} of {:.2f} billion parameters\n",
             FormatSize(planned.sizes.dense + planned.sizes.experts_total),
             static_cast<double>(counts.parameters) / 1e9);
  fmt::print("             {} of {:.2f} billion for one token", FormatSize(counts.active),
             static_cast<double>(counts.active_parameters) / 1e9);
  if (counts.token_read > 0) {
    fmt::print(", of which {} are experts, read if not in memory", FormatSize(counts.token_read));
  }
  fmt::print("\nKV           {} for 1024 tokens in f16\n", FormatSize(counts.kv_per_1k));
}

void PrintMachine(const MachineInfo& machine, const DiskInfo& disk, const Rates& rates) {
  fmt::print("processor    {}, {} threads, {}\n", machine.processor.model,
             machine.processor.threads, fmt::join(machine.processor.features, " "));
  fmt::print("memory       {} usable, {}\n", FormatSize(machine.memory.usable),
             RateText(rates.memory_measured, rates.memory));
  for (const std::string& line : machine.memory.explanation) fmt::print("             {}\n", line);
  fmt::print("disk         {} {}, {} free, {}\n", disk.device, disk.file_system,
             FormatSize(disk.free), RateText(rates.disk_measured, rates.disk));
  fmt::print("accelerator  none: this build has no accelerator backend\n");
  fmt::print("unified      {}\n", machine.unified_memory ? "yes" : "no");
}

void PrintTiers(const PlannedModel& planned, const PlanCommand& command) {
  const MemoryPlan& plan = *planned.result.plan;
  fmt::print("\nhost memory  {}{}\n{}", FormatSize(plan.budget),
             command.engine.host_memory ? "" : " (automatic)", PlanToText(plan));
  const Bytes model = planned.sizes.dense + planned.sizes.experts_total;
  fmt::print("disk         {} of weights, of which {} do not stay in memory\n", FormatSize(model),
             FormatSize(plan.streamed_per_pass + planned.sizes.experts_total -
                        std::min(planned.sizes.experts_total, plan.experts)));
  if (planned.expert_shards_open) {
    fmt::print("files        at most {} of {} expert shards open at once; 'ulimit -n' sets it\n",
               *planned.expert_shards_open, planned.expert_shards);
  }
  fmt::print("smallest     {} would do, with little context\n",
             FormatSize(planned.result.smallest));
}

void PrintSpeed(const PlannedModel& planned, const Rates& rates) {
  const SpeedEstimate estimate = Estimate(planned, rates);
  fmt::print("\nexpected     {:.1f} tokens/s in decode\n", estimate.tokens_per_second);
  fmt::print("  {:.2f} ms per token: its weights from memory\n", 1e3 * estimate.compute_seconds);
  if (estimate.stream_seconds > 0) {
    fmt::print("  {:.2f} ms per token, meanwhile: layers from disk\n",
               1e3 * estimate.stream_seconds);
  }
  if (planned.sizes.records > 0) {
    fmt::print("  {:.2f} ms per token: experts from disk, with {:.0f} % of them found in memory\n",
               1e3 * estimate.read_seconds, 100 * estimate.hit_rate);
  }
}

}  // namespace

void RunPlan(const PlanCommand& command) {
  if (command.model.empty() == command.config_file.empty()) {
    throw UsageError("plan needs a MODEL, or --config with a config.json");
  }
  const PlannedModel planned =
      command.config_file.empty() ? PlanArtifact(command) : PlanConfig(command);
  const MachineInfo machine = DetectMachine();
  const DiskInfo disk = DetectDisk(planned.place);
  const Rates rates = Measure(command, planned, machine.processor);
  if (command.json) {
    PrintJson(ToJson(planned, machine, disk, rates));
  } else {
    fmt::print("model        {} ({})\n", planned.name, planned.config.family);
    fmt::print("kernels      {}, {}\n", planned.backend, planned.cpu_path);
    PrintWeights(planned);
    PrintMachine(machine, disk, rates);
  }
  if (!planned.result.plan) throw Error(RefusalMessage(command.engine, planned.result.smallest));
  if (command.json) return;
  PrintTiers(planned, command);
  PrintSpeed(planned, rates);
}

}  // namespace doppler
