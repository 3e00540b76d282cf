#include "engine/engine.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "io/machine.h"
#include "io/mapped_memory.h"
#include "model/rope.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

std::string ReadOptionalFile(const fs::path& path) {
  return fs::exists(path) ? ReadTextFile(path) : std::string();
}

int ThreadCount(const EngineOptions& options) {
  return options.threads > 0 ? options.threads : DetectProcessor().threads;
}

[[noreturn]] void RefuseBudget(const EngineOptions& options, Bytes budget, Bytes smallest) {
  // Rounded up, so that the size that the message names is accepted.
  const Bytes mebibytes = (smallest + kMiB - 1) / kMiB;
  Throw("{} of {} cannot hold this model; the smallest that would do is --host-memory {}M",
        options.host_memory ? "the budget" : "the automatic budget", FormatSize(budget), mebibytes);
}

void CheckContext(const EngineOptions& options, const ModelConfig& config) {
  if (options.context <= config.context_length) return;
  Throw("a context of {} tokens was asked for and the model was made for {}; lower --context",
        options.context, config.context_length);
}

}  // namespace

Tokenizer LoadTokenizer(const fs::path& folder) {
  const fs::path path = folder / "tokenizer.json";
  if (!fs::exists(path)) {
    Throw("the tokenizer '{}' is missing; copy it from where the model came from, or convert again",
          path.string());
  }
  return Tokenizer::FromJson(ReadTextFile(path), ReadOptionalFile(folder / "tokenizer_config.json"),
                             path.string(), ReadOptionalFile(folder / "generation_config.json"));
}

std::unique_ptr<Backend> MakeBackend(BackendKind kind, std::optional<CpuPath> path,
                                     ThreadPool& pool) {
  if (kind == BackendKind::kReference) return MakeReferenceBackend(pool);
  return MakeCpuBackend(pool, path.value_or(DetectCpuPath()));
}

ExpertTable ExpertTableOf(const Artifact& artifact, const ModelConfig& config) {
  std::vector<int> experts_of_layer;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    experts_of_layer.push_back(config.HasExperts(LayerId(layer)) ? config.num_experts : 0);
  }
  return FindExperts(artifact, experts_of_layer);
}

ModelSizes SizesOf(const Artifact& artifact, const ModelConfig& config, const ExpertTable& table) {
  ModelSizes sizes;
  sizes.dense = TotalSize(CoverTensors(artifact, DenseTensorNames(config))) +
                NormFloats(config) * sizeof(float);
  sizes.leaf_hashes = artifact.LeafTableBytes();
  sizes.record = SlotBytes(table);
  for (const std::vector<ExpertSource>& layer : table) {
    sizes.records += layer.size();
    for (const ExpertSource& source : layer) sizes.experts_total += source.record.size;
  }
  return sizes;
}

Engine::Engine(const fs::path& folder, const EngineOptions& options)
    : artifact_(folder),
      config_(
          ConfigFromJson(artifact_.manifest().architecture, (folder / "manifest.json").string())),
      pool_(ThreadCount(options)) {
  const auto start = std::chrono::steady_clock::now();
  CheckShapes(artifact_.manifest(), config_);
  CheckContext(options, config_);
  table_ = ExpertTableOf(artifact_, config_);
  if (options.with_tokenizer) tokenizer_ = LoadTokenizer(folder);
  backend_ = MakeBackend(options.backend, options.cpu_path, pool_);
  // What parsing left behind would otherwise count against the budget for the whole run.
  TrimHeap();
  plan_ = MakePlan(options);
  Load(options);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  load_seconds_ = took.count();
}

MemoryPlan Engine::MakePlan(const EngineOptions& options) const {
  const Bytes budget = options.host_memory.value_or(AutomaticBudget(DetectMemory()));
  const ModelSizes sizes = SizesOf(artifact_, config_, table_);
  const PlanRequest request{.budget = budget,
                            .process = ProcessBytes(CurrentResidentBytes(), budget),
                            .context = options.context,
                            .ubatch = options.ubatch,
                            .logit_rows = options.logit_rows,
                            .kv_dtype = options.kv_dtype};
  const PlanResult result = PlanMemory(config_, sizes, request, [this](const KernelLimits& limits) {
    return backend_->ScratchBytes(limits);
  });
  if (!result.plan) RefuseBudget(options, budget, result.smallest);
  return *result.plan;
}

void Engine::Load(const EngineOptions& options) {
  budget_ = std::make_unique<MemoryBudget>(plan_.budget - plan_.process - plan_.leaf_hashes -
                                           plan_.scratch);
  const std::vector<std::string> names = DenseTensorNames(config_);
  dense_ = std::make_unique<DenseWeights>(artifact_, names, *budget_, pool_);
  weights_ = MakeWeights(*dense_, config_);
  const KvShape kv = KvShapeOf(config_, options.kv_dtype);
  kv_pool_ = std::make_unique<KvPool>(kv, kv.BlocksFor(plan_.context), *budget_);
  const std::size_t wave = std::min(plan_.slots, static_cast<std::size_t>(config_.num_experts));
  activations_ = std::make_unique<Activations>(
      config_,
      ActivationLimits{.ubatch = plan_.ubatch, .logit_rows = options.logit_rows, .wave = wave},
      *budget_);
  backend_->Reserve(LimitsOf(config_, plan_.ubatch, plan_.context));
  if (config_.num_experts > 0) {
    ExpertCacheOptions cache = options.cache;
    cache.slots = plan_.slots;
    experts_ = std::make_unique<ExpertCache>(artifact_, std::move(table_), *budget_, cache);
  }
  model_ = std::make_unique<Model>(Model{.config = config_,
                                         .weights = weights_,
                                         .backend = *backend_,
                                         .experts = experts_.get(),
                                         .rope_frequencies = RopeFrequencies(config_),
                                         .on_route = options.on_route});
}

const Tokenizer& Engine::tokenizer() const {
  DOPPLER_CHECK(tokenizer_.has_value());
  return *tokenizer_;
}

}  // namespace doppler
