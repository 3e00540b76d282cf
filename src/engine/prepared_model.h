// A model that was opened, checked and planned for, before any weight is read.
//
// `doppler plan` stops here and the engine goes on from here, so that both see the same plan.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "base/bytes.h"
#include "base/thread_pool.h"
#include "engine/memory_watch.h"
#include "engine/plan.h"
#include "model/config.h"
#include "model/forward.h"
#include "store/artifact.h"
#include "text/tokenizer.h"
#include "tier/expert_cache.h"
#include "tier/weight_stream.h"

namespace doppler {

enum class BackendKind : std::uint8_t { kReference, kCpu };

struct EngineOptions {
  std::optional<Bytes> host_memory;                    // nothing: AutomaticBudget
  int context = 0;                                     // 0: the plan chooses
  int ubatch = 0;                                      // 0: the plan chooses
  int threads = 0;                                     // 0: one per core that this process may use
  std::size_t most_slots = ~std::size_t{0};            // expert slots, however many more would fit
  std::size_t most_resident_layers = ~std::size_t{0};  // likewise; the others are streamed
  int logit_rows = 1;  // logits of how many tokens can be had at once
  DType kv_dtype = DType::kF16;
  BackendKind backend = BackendKind::kCpu;
  std::optional<CpuPath> cpu_path;        // nothing: the best for this processor
  std::optional<std::size_t> open_files;  // this process may open; nothing: what the system says
  ShardSource* shard_source = nullptr;    // of expert shards that are missing; outlives the engine
  bool with_tokenizer = true;
  bool warm_start = false;  // read in the background what earlier runs used most
  // Experts of the next layer to guess in decode; 0: none, nothing: half of a token's.
  std::optional<int> speculate = 0;
  bool give_back = false;  // expert slots to the system while it is short of memory
  RouterObserver on_route;
  ExpertObserver on_experts;
  // Tests shuffle evictions, delay reads and make up pressure here; `slots`, `least_slots`,
  // `reserve` and `buffers` are ignored.
  ExpertCacheOptions cache;
  WeightStreamOptions stream;
  std::optional<PressureSource> pressure;  // nothing: SystemPressure
};

class PreparedModel {
 public:
  // Throws Error if the artifact is damaged or not supported.
  PreparedModel(const std::filesystem::path& folder, const EngineOptions& options);
  PreparedModel(const PreparedModel&) = delete;
  PreparedModel& operator=(const PreparedModel&) = delete;

  // The plan for the budget in `options`, or the smallest budget that would do.
  PlanResult Plan(const EngineOptions& options) const;

  Artifact artifact;
  ModelConfig config;
  ExpertTable table;
  ModelSizes sizes;
  std::optional<Tokenizer> tokenizer;
  ThreadPool pool;
  std::unique_ptr<Backend> backend;
};

// The budget that the options ask for, or the automatic one.
Bytes BudgetOf(const EngineOptions& options);
// Throws Error if the options ask for more context than the model was made for.
void CheckContext(const EngineOptions& options, const ModelConfig& config);
// What the user is told when a plan is refused.
std::string RefusalMessage(const EngineOptions& options, Bytes smallest);

// The files of a tokenizer beside an artifact's manifest. Throws Error if tokenizer.json is
// missing.
Tokenizer LoadTokenizer(const std::filesystem::path& folder);

// The sizes of an artifact's model, for the plan.
ModelSizes SizesOf(const Artifact& artifact, const ModelConfig& config, const ExpertTable& table);
ExpertTable ExpertTableOf(const Artifact& artifact, const ModelConfig& config);

std::unique_ptr<Backend> MakeBackend(BackendKind kind, std::optional<CpuPath> path,
                                     ThreadPool& pool);

}  // namespace doppler
