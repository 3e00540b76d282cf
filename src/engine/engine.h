// A model that is ready to run under a memory budget. Two nouns carry the public interface: the
// engine, which owns the weights, the tiers and the plan, and the session, one timeline of tokens.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "base/bytes.h"
#include "base/thread_pool.h"
#include "engine/plan.h"
#include "model/activations.h"
#include "model/forward.h"
#include "model/weights.h"
#include "store/artifact.h"
#include "text/tokenizer.h"
#include "tier/budget.h"
#include "tier/dense_weights.h"
#include "tier/expert_cache.h"
#include "tier/kv_pool.h"

namespace doppler {

enum class BackendKind : std::uint8_t { kReference, kCpu };

struct EngineOptions {
  std::optional<Bytes> host_memory;  // nothing: AutomaticBudget
  int context = 0;                   // 0: the plan chooses
  int ubatch = 0;                    // 0: the plan chooses
  int threads = 0;                   // 0: one per core that this process may use
  int logit_rows = 1;                // logits of how many tokens can be had at once
  DType kv_dtype = DType::kF16;
  BackendKind backend = BackendKind::kCpu;
  std::optional<CpuPath> cpu_path;  // nothing: the best for this processor
  bool with_tokenizer = true;
  RouterObserver on_route;
  // Tests shuffle evictions and delay reads here; `slots` is ignored.
  ExpertCacheOptions cache;
};

// One thread at a time.
class Engine {
 public:
  // Opens the artifact, plans, reads the dense weights. Throws Error if the artifact is damaged or
  // not supported, or if the budget is too small; that message names the smallest that would do.
  Engine(const std::filesystem::path& folder, const EngineOptions& options);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const Artifact& artifact() const { return artifact_; }
  const ModelConfig& config() const { return config_; }
  const MemoryPlan& plan() const { return plan_; }
  // REQUIRES: the option with_tokenizer.
  const Tokenizer& tokenizer() const;
  const Backend& backend() const { return *backend_; }
  int threads() const { return pool_.size(); }
  // Null for a model without experts.
  const ExpertCache* experts() const { return experts_.get(); }
  double load_seconds() const { return load_seconds_; }

 private:
  friend class Session;

  MemoryPlan MakePlan(const EngineOptions& options) const;
  void Load(const EngineOptions& options);

  Artifact artifact_;
  ModelConfig config_;
  ExpertTable table_;  // moved into the cache by Load
  std::optional<Tokenizer> tokenizer_;
  ThreadPool pool_;
  std::unique_ptr<Backend> backend_;
  MemoryPlan plan_;
  std::unique_ptr<MemoryBudget> budget_;
  std::unique_ptr<DenseWeights> dense_;
  Weights weights_;
  std::unique_ptr<ExpertCache> experts_;
  std::unique_ptr<KvPool> kv_pool_;
  std::unique_ptr<Activations> activations_;
  std::unique_ptr<Model> model_;
  double load_seconds_ = 0;
};

// The files of a tokenizer beside an artifact's manifest. Throws Error if tokenizer.json is
// missing.
Tokenizer LoadTokenizer(const std::filesystem::path& folder);

// The sizes of an artifact's model, for the plan.
ModelSizes SizesOf(const Artifact& artifact, const ModelConfig& config, const ExpertTable& table);
ExpertTable ExpertTableOf(const Artifact& artifact, const ModelConfig& config);

std::unique_ptr<Backend> MakeBackend(BackendKind kind, std::optional<CpuPath> path,
                                     ThreadPool& pool);

}  // namespace doppler
