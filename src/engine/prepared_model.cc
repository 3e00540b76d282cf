#include "engine/prepared_model.h"

#include <algorithm>

#include "base/error.h"
#include "io/machine.h"
#include "io/mapped_memory.h"
#include "model/weights.h"
#include "tier/dense_weights.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

std::string ReadOptionalFile(const fs::path& path) {
  return fs::exists(path) ? ReadTextFile(path) : std::string();
}

int ThreadCount(const EngineOptions& options) {
  return options.threads > 0 ? options.threads : DetectProcessor().threads;
}

}  // namespace

void CheckContext(const EngineOptions& options, const ModelConfig& config) {
  if (options.context <= config.context_length) return;
  Throw("a context of {} tokens was asked for and the model was made for {}; lower --context",
        options.context, config.context_length);
}

Tokenizer LoadTokenizer(const fs::path& folder) {
  const fs::path path = folder / "tokenizer.json";
  if (!fs::exists(path)) {
    Throw("the tokenizer '{}' is missing; copy it from where the model came from, or convert again",
          path.string());
  }
  return Tokenizer::FromJson(ReadTextFile(path), ReadOptionalFile(folder / "tokenizer_config.json"),
                             folder.string(), ReadOptionalFile(folder / "generation_config.json"));
}

std::unique_ptr<Backend> MakeBackend(BackendKind kind, std::optional<CpuPath> path,
                                     ThreadPool& pool) {
  if (kind == BackendKind::kReference) return MakeReferenceBackend(pool);
  return MakeCpuBackend(pool, path.value_or(DetectCpuPath()));
}

ExpertTable ExpertTableOf(const Artifact& artifact, const ModelConfig& config) {
  std::vector<int> experts_of_layer(static_cast<std::size_t>(config.num_layers));
  for (std::size_t layer = 0; layer < experts_of_layer.size(); ++layer) {
    if (config.HasExperts(LayerId(layer))) experts_of_layer[layer] = config.num_experts;
  }
  return FindExperts(artifact, experts_of_layer);
}

ModelSizes SizesOf(const Artifact& artifact, const ModelConfig& config, const ExpertTable& table) {
  ModelSizes sizes;
  const Bytes floats = VectorFloats(config) * sizeof(float);
  const DenseNames names = DenseNamesOf(config);
  sizes.dense = TotalSize(CoverTensors(artifact, DenseTensorNames(config))) + floats;
  sizes.ends = TotalSize(CoverTensors(artifact, names.ends)) + floats;
  for (const std::vector<std::string>& layer : names.layers) {
    sizes.layers.push_back(AlignUp(TotalSize(CoverTensors(artifact, layer)), kDirectAlignment));
  }
  sizes.embedding = artifact.manifest().Tensor("embed_tokens.weight").size;
  sizes.leaf_hashes = artifact.LeafTableBytes();
  sizes.slot_classes = SlotClassesOf(table);
  for (const std::vector<ExpertSource>& layer : table) {
    sizes.records += layer.size();
    for (const ExpertSource& source : layer) sizes.experts_total += source.record.size;
  }
  return sizes;
}

PreparedModel::PreparedModel(const fs::path& folder, const EngineOptions& options)
    : artifact(folder, options.open_files, options.shard_source),
      config(ConfigFromJson(artifact.manifest().architecture, (folder / "manifest.json").string())),
      pool(ThreadCount(options)) {
  CheckShapes(artifact.manifest(), config);
  CheckContext(options, config);
  table = ExpertTableOf(artifact, config);
  sizes = SizesOf(artifact, config, table);
  if (options.with_tokenizer) tokenizer = LoadTokenizer(folder);
  backend = MakeBackend(options.backend, options.cpu_path, pool);
  // What parsing left behind would otherwise count against the budget for the whole run.
  TrimHeap();
}

PlanResult PreparedModel::Plan(const EngineOptions& options) const {
  const Bytes budget = BudgetOf(options);
  const ShardSource* const source = artifact.files().source();
  const Bytes working = source == nullptr ? 0 : source->WorkingBytes();
  const PlanRequest request{.budget = budget,
                            .process = ProcessBytes(CurrentResidentBytes()) + working,
                            .context = options.context,
                            .ubatch = options.ubatch,
                            .logit_rows = options.logit_rows,
                            .most_slots = options.most_slots,
                            .most_resident_layers = options.most_resident_layers,
                            .kv_dtype = options.kv_dtype};
  PlanResult result = PlanMemory(config, sizes, request, [this](const KernelLimits& limits) {
    return backend->ScratchBytes(limits);
  });
  // What opening took for a moment counts too: a large manifest, a large tokenizer.
  result.smallest = std::max(result.smallest, PeakResidentBytes());
  if (PeakResidentBytes() > budget) result.plan.reset();
  return result;
}

Bytes BudgetOf(const EngineOptions& options) {
  return options.host_memory ? *options.host_memory : AutomaticBudget(DetectMemory());
}

std::string RefusalMessage(const EngineOptions& options, Bytes smallest) {
  // Rounded up, so that the size that the message names is accepted. What the program itself takes
  // differs from run to run, once by more than 512 KiB, with where the system has put its parts and
  // which of its pages are in memory already.
  constexpr Bytes kRunToRun = kMiB;
  const Bytes mebibytes = (smallest + kRunToRun + kMiB - 1) / kMiB;
  return fmt::format(
      "the {}budget of {} cannot hold this model; the smallest that would do is --host-memory {}M",
      options.host_memory ? "" : "automatic ", FormatSize(BudgetOf(options)), mebibytes);
}

}  // namespace doppler
