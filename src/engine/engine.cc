#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "engine/layer_choice.h"
#include "model/rope.h"

namespace doppler {
namespace {

MemoryPlan PlanOrThrow(const PreparedModel& prepared, const EngineOptions& options) {
  PlanResult result = prepared.Plan(options);
  if (!result.plan) throw Error(RefusalMessage(options, result.smallest));
  return *result.plan;
}

// Experts that are guessed for a layer.
int GuessesOf(const ModelConfig& config, const EngineOptions& options) {
  return options.speculate.value_or(config.experts_per_token / 2);
}

// For a cache of so many records.
EvictionPolicy PolicyFor(const ModelConfig& config, std::size_t records) {
  const auto layers = static_cast<std::size_t>(config.NumMoeLayers());
  return PolicyOf(
      DefaultPolicy(records, layers * static_cast<std::size_t>(config.experts_per_token)));
}

// What one token needs in one layer must be on disk together, with what is guessed for the next.
void RequireDiskRoom(const PreparedModel& prepared, const EngineOptions& options) {
  const std::optional<Bytes> budget =
      options.shard_source == nullptr ? std::nullopt : options.shard_source->DiskBudget();
  if (!budget || prepared.config.num_experts == 0) return;
  Bytes largest = 0;
  for (const ShardEntry& shard : prepared.artifact.manifest().shards) {
    if (shard.type == ShardType::kExpert) largest = std::max(largest, shard.size);
  }
  const int used = prepared.config.experts_per_token;
  const int guessed = GuessesOf(prepared.config, options);
  const Bytes needed = static_cast<Bytes>(used + guessed) * largest;
  if (*budget >= needed) return;
  Throw(
      "a disk cache of {} is too small for '{}': a token uses {} experts in a layer and {} of the "
      "next are guessed (--speculate), of up to {} each; give --disk-cache {} or more",
      FormatSize(*budget), prepared.artifact.manifest().model_id, used, guessed,
      FormatSize(largest), needed);
}

// The names of dense tensors by what becomes of them.
struct DenseSplit {
  std::vector<std::string> resident;
  std::vector<std::vector<std::string>> streamed;  // [streamed layer]
  std::vector<std::string> vectors;                // of streamed layers, those that become float
};

DenseSplit SplitDense(DenseNames names, std::span<const LayerId> streamed) {
  DenseSplit split{.resident = std::move(names.ends), .streamed = {}, .vectors = {}};
  const auto append = [](std::vector<std::string>& to, std::vector<std::string>& from) {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  };
  for (std::size_t i = 0; i < names.layers.size(); ++i) {
    if (std::find(streamed.begin(), streamed.end(), LayerId(i)) == streamed.end()) {
      append(split.resident, names.layers[i]);
      continue;
    }
    split.streamed.push_back(std::move(names.layers[i]));
    append(split.vectors, names.vectors[i]);
  }
  return split;
}

TraceModel TraceModelOf(const PreparedModel& prepared) {
  TraceModel model{.name = prepared.artifact.manifest().model_id,
                   .experts_per_token = prepared.config.experts_per_token,
                   .experts_of_layer = {},
                   .record_bytes_of_layer = {}};
  for (const std::vector<ExpertSource>& layer : prepared.table) {
    model.experts_of_layer.push_back(static_cast<int>(layer.size()));
    model.record_bytes_of_layer.push_back(layer.empty() ? 0 : layer[0].record.size);
  }
  return model;
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
  RequireDiskRoom(prepared_, options);
  trace_model_ = TraceModelOf(prepared_);
  Load(options);
  if (options.warm_start) BeginWarmStart();
  if (options.shard_source != nullptr) LetShardsGo(*options.shard_source);
  if (options.give_back) BeginMemoryWatch(options);
  load_seconds_ = SecondsSince(start_);
}

void Engine::Load(const EngineOptions& options) {
  const ModelConfig& config = prepared_.config;
  LoadDense(options);
  kv_pool_ = std::make_unique<KvPool>(
      KvShapeOf(config, options.kv_dtype, plan_.ubatch, plan_.context), 1, *budget_);
  activations_ = std::make_unique<Activations>(
      config, ActivationLimits{.ubatch = plan_.ubatch, .logit_rows = options.logit_rows}, *budget_);
  prepared_.backend->Reserve(LimitsOf(config, plan_.ubatch, plan_.context));
  if (config.num_experts > 0) {
    ExpertCacheOptions cache = options.cache;
    cache.slots = plan_.slots_of_class;
    cache.least_slots = static_cast<std::size_t>(config.experts_per_token);
    const auto layers = static_cast<std::size_t>(config.NumMoeLayers());
    if (!cache.policy) cache.policy = PolicyFor(config, plan_.slots);
    cache.half_life = kDefaultHalfLifeTokens * static_cast<double>(layers);
    const int guesses = GuessesOf(config, options);
    cache.reserve = SpeculationReserve(guesses);
    experts_ = std::make_unique<ExpertCache>(prepared_.artifact, std::move(prepared_.table),
                                             *budget_, cache);
    if (guesses > 0) {
      speculation_ = std::make_unique<Speculation>(config, guesses);
    }
  }
  model_ = std::make_unique<Model>(Model{.config = config,
                                         .weights = weights_,
                                         .backend = *prepared_.backend,
                                         .experts = experts_.get(),
                                         .streamed = streamed_.get(),
                                         .speculation = speculation_.get(),
                                         .rope = RopeOf(config, config.rope_scaling),
                                         .long_rope = RopeOf(config, config.long_rope_scaling),
                                         .on_route = options.on_route,
                                         .on_experts = options.on_experts,
                                         .times = times_});
}

void Engine::LoadDense(const EngineOptions& options) {
  const Artifact& artifact = prepared_.artifact;
  const DenseSplit split = SplitDense(DenseNamesOf(prepared_.config), plan_.streamed);
  dense_ = std::make_unique<DenseWeights>(artifact, split.resident, *budget_, prepared_.pool);
  if (plan_.streamed.empty()) {
    weights_ = MakeWeights({.resident = *dense_}, prepared_.config);
    return;
  }
  // Norms and biases of all layers stay, as floats: what they are made from is needed once.
  const DenseWeights vectors(artifact, split.vectors, *budget_, prepared_.pool);
  WeightStreamOptions stream = options.stream;
  stream.buffers = kStreamBuffers;
  stream_ = std::make_unique<WeightStream>(artifact, split.streamed, *budget_, stream);
  weights_ = MakeWeights({.resident = *dense_, .stream = stream_.get(), .vectors = &vectors},
                         prepared_.config);
  streamed_ = std::make_unique<StreamedLayers>(plan_.streamed, weights_, *stream_);
}

void Engine::BeginWarmStart() {
  if (experts_ == nullptr) return;
  const auto usage = LoadUsage(prepared_.artifact, experts_->records());
  if (!usage) return;
  experts_->SetUsage(*usage);
  const auto spare = static_cast<std::size_t>(prepared_.config.experts_per_token);
  warm_start_ = std::make_unique<WarmStart>(*experts_, *usage, spare);
}

// The disk is a cache of records as the slots are, of another size.
void Engine::LetShardsGo(const ShardSource& source) {
  if (experts_ == nullptr || !source.DiskBudget()) return;
  Bytes bytes = 0;
  for (const ShardEntry& shard : prepared_.artifact.manifest().shards) {
    if (shard.type == ShardType::kExpert) bytes += shard.size;
  }
  const Bytes record = std::max<Bytes>(1, bytes / experts_->records());
  const auto records = static_cast<std::size_t>(*source.DiskBudget() / record);
  experts_->LetShardsGo(PolicyFor(prepared_.config, records));
}

void Engine::BeginMemoryWatch(const EngineOptions& options) {
  if (experts_ == nullptr) return;
  std::optional<PressureSource> source = options.pressure ? options.pressure : SystemPressure();
  if (source) memory_watch_ = std::make_unique<MemoryWatch>(*experts_, std::move(*source));
}

void Engine::FinishWarmStart() {
  if (warm_start_ != nullptr) warm_start_->Finish();
}

bool Engine::SaveUsage() const {
  return experts_ != nullptr && doppler::SaveUsage(prepared_.artifact, *experts_);
}

ExpertCacheStats Engine::expert_stats() const {
  return experts_ == nullptr ? ExpertCacheStats() : experts_->stats();
}

WeightStreamStats Engine::stream_stats() const {
  return stream_ == nullptr ? WeightStreamStats() : stream_->stats();
}

SpeculationStats Engine::speculation_stats() const {
  return speculation_ == nullptr ? SpeculationStats() : speculation_->stats();
}

int Engine::speculates() const { return speculation_ == nullptr ? 0 : speculation_->predictions(); }

const Tokenizer& Engine::tokenizer() const {
  DOPPLER_CHECK(prepared_.tokenizer.has_value());
  return *prepared_.tokenizer;
}

}  // namespace doppler
