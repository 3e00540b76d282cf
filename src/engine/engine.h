// A model that is ready to run under a memory budget. Two nouns carry the public interface: the
// engine, which owns the weights, the tiers and the plan, and the session, one timeline of tokens.
#pragma once

#include <chrono>
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
#include "engine/prepared_model.h"
#include "engine/trace.h"
#include "model/activations.h"
#include "model/forward.h"
#include "model/speculation.h"
#include "model/streamed_layers.h"
#include "model/weights.h"
#include "store/artifact.h"
#include "text/tokenizer.h"
#include "tier/budget.h"
#include "tier/dense_weights.h"
#include "tier/expert_cache.h"
#include "tier/kv_pool.h"
#include "tier/usage.h"
#include "tier/weight_stream.h"

namespace doppler {

// One thread at a time.
class Engine {
 public:
  // Opens the artifact, plans, reads the dense weights. Throws Error if the artifact is damaged or
  // not supported, or if the budget is too small; that message names the smallest that would do.
  Engine(const std::filesystem::path& folder, const EngineOptions& options);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const Artifact& artifact() const { return prepared_.artifact; }
  const ModelConfig& config() const { return prepared_.config; }
  const MemoryPlan& plan() const { return plan_; }
  // REQUIRES: the option with_tokenizer.
  const Tokenizer& tokenizer() const;
  const Backend& backend() const { return *prepared_.backend; }
  int threads() const { return prepared_.pool.size(); }
  // Null for a model without experts.
  const ExpertCache* experts() const { return experts_.get(); }
  ExpertCache* experts() { return experts_.get(); }
  // Null if all dense weights are resident.
  const WeightStream* stream() const { return stream_.get(); }
  // Null without the option give_back, where the kernel does not count, and without experts.
  const MemoryWatch* memory_watch() const { return memory_watch_.get(); }
  // At the start.
  Bytes dense_bytes_read() const { return dense_->size(); }
  // What they did so far; zeros for a null one.
  ExpertCacheStats expert_stats() const;
  WeightStreamStats stream_stats() const;
  SpeculationStats speculation_stats() const;
  // Experts that are guessed for each layer in decode; 0 if none are.
  int speculates() const;
  // Of all passes so far.
  const PassTimes& times() const { return times_; }
  // The shape of its experts, for a trace.
  const TraceModel& trace_model() const { return trace_model_; }
  // Remembers beside the artifact what its experts were used for, for the next warm start. Says
  // whether it could.
  bool SaveUsage() const;
  // Waits until a warm start has read all that it will. For measurements.
  void FinishWarmStart();
  double load_seconds() const { return load_seconds_; }

 private:
  friend class Session;

  void Load(const EngineOptions& options);
  void LoadDense(const EngineOptions& options);
  void BeginWarmStart();
  void LetShardsGo(const ShardSource& source);
  void BeginMemoryWatch(const EngineOptions& options);

  const std::chrono::steady_clock::time_point start_;
  PreparedModel prepared_;
  MemoryPlan plan_;
  std::unique_ptr<MemoryBudget> budget_;
  std::unique_ptr<DenseWeights> dense_;
  std::unique_ptr<WeightStream> stream_;
  Weights weights_;
  std::unique_ptr<StreamedLayers> streamed_;  // after weights_ and stream_
  std::unique_ptr<ExpertCache> experts_;
  std::unique_ptr<WarmStart> warm_start_;      // after experts_
  std::unique_ptr<MemoryWatch> memory_watch_;  // likewise
  std::unique_ptr<Speculation> speculation_;
  std::unique_ptr<KvPool> kv_pool_;
  std::unique_ptr<Activations> activations_;
  PassTimes times_;
  TraceModel trace_model_;
  std::unique_ptr<Model> model_;
  double load_seconds_ = 0;
};

}  // namespace doppler
