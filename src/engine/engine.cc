#include "engine/engine.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "model/rope.h"

namespace doppler {
namespace {

MemoryPlan PlanOrThrow(const PreparedModel& prepared, const EngineOptions& options) {
  PlanResult result = prepared.Plan(options);
  if (!result.plan) throw Error(RefusalMessage(options, result.smallest));
  return *result.plan;
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Engine::Engine(const std::filesystem::path& folder, const EngineOptions& options)
    : start_(std::chrono::steady_clock::now()),
      prepared_(folder, options),
      plan_(PlanOrThrow(prepared_, options)),
      budget_(std::make_unique<MemoryBudget>(plan_.budget - plan_.process - plan_.page_tables -
                                             plan_.leaf_hashes - plan_.scratch)) {
  Load(options);
  load_seconds_ = SecondsSince(start_);
}

void Engine::Load(const EngineOptions& options) {
  const ModelConfig& config = prepared_.config;
  const std::vector<std::string> names = DenseTensorNames(config);
  dense_ = std::make_unique<DenseWeights>(prepared_.artifact, names, *budget_, prepared_.pool);
  weights_ = MakeWeights(*dense_, config);
  kv_pool_ = std::make_unique<KvPool>(
      KvShapeOf(config, options.kv_dtype, plan_.ubatch, plan_.context), 1, *budget_);
  const std::size_t wave = std::min(plan_.slots, static_cast<std::size_t>(config.num_experts));
  activations_ = std::make_unique<Activations>(
      config,
      ActivationLimits{.ubatch = plan_.ubatch, .logit_rows = options.logit_rows, .wave = wave},
      *budget_);
  prepared_.backend->Reserve(LimitsOf(config, plan_.ubatch, plan_.context));
  if (config.num_experts > 0) {
    ExpertCacheOptions cache = options.cache;
    cache.slots = plan_.slots;
    experts_ = std::make_unique<ExpertCache>(prepared_.artifact, std::move(prepared_.table),
                                             *budget_, cache);
  }
  model_ = std::make_unique<Model>(Model{.config = config,
                                         .weights = weights_,
                                         .backend = *prepared_.backend,
                                         .experts = experts_.get(),
                                         .rope = RopeOf(config, plan_.context),
                                         .on_route = options.on_route});
}

const Tokenizer& Engine::tokenizer() const {
  DOPPLER_CHECK(prepared_.tokenizer.has_value());
  return *prepared_.tokenizer;
}

}  // namespace doppler
