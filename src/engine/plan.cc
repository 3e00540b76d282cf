#include "engine/plan.h"

#include <algorithm>
#include <cstdint>

#include "model/activations.h"
#include "model/tensors.h"

namespace doppler {
namespace {

constexpr int kLargestAutomaticContext = 8192;
constexpr int kSmallestAutomaticContext = 256;
constexpr int kLargestAutomaticUbatch = 512;
constexpr int kSmallestAutomaticUbatch = 16;

// One entry of 8 bytes maps 4096 bytes.
Bytes PageTables(Bytes mapped) { return mapped / 512; }

class Planner {
 public:
  Planner(const ModelConfig& config, const ModelSizes& sizes, const PlanRequest& request,
          const ScratchBytes& scratch_bytes)
      : config_(config), sizes_(sizes), request_(request), scratch_bytes_(scratch_bytes) {}

  // Everything but the expert slots.
  MemoryPlan Fixed(int context, int ubatch) const {
    MemoryPlan plan{.budget = request_.budget,
                    .process = request_.process,
                    .dense = sizes_.dense,
                    .leaf_hashes = sizes_.leaf_hashes,
                    .context = context,
                    .ubatch = ubatch,
                    .records = sizes_.records};
    plan.kv = KvShapeOf(config_, request_.kv_dtype, ubatch, context).TotalBytes();
    plan.activations =
        Activations::SizeOf(config_, {.ubatch = ubatch,
                                      .logit_rows = request_.logit_rows,
                                      .wave = static_cast<std::size_t>(config_.num_experts)});
    plan.scratch = scratch_bytes_(LimitsOf(config_, ubatch, context));
    plan.page_tables = PageTables(plan.Total());
    return plan;
  }

  int Context() const {
    if (request_.context > 0) return request_.context;
    const auto kv_bytes = [this](int context) {
      const int ubatch = SmallestUbatch(context);
      return KvShapeOf(config_, request_.kv_dtype, ubatch, context).TotalBytes();
    };
    int context = std::min(config_.context_length, kLargestAutomaticContext);
    while (context > SmallestContext() && kv_bytes(context) > Left() / 4) {
      context = std::max(context / 2, SmallestContext());
    }
    return context;
  }

  int Ubatch(int context) const {
    if (request_.ubatch > 0) return request_.ubatch;
    int ubatch = std::min(context, kLargestAutomaticUbatch);
    while (ubatch > SmallestUbatch(context)) {
      const MemoryPlan plan = Fixed(context, ubatch);
      if (plan.activations + plan.scratch <= Left() / 8) break;
      ubatch = std::max(ubatch / 2, SmallestUbatch(context));
    }
    return ubatch;
  }

  int SmallestContext() const {
    if (request_.context > 0) return request_.context;
    return std::min(config_.context_length, kSmallestAutomaticContext);
  }
  int SmallestUbatch(int context) const {
    if (request_.ubatch > 0) return request_.ubatch;
    return std::min(context, kSmallestAutomaticUbatch);
  }

  // One token's work in one layer.
  std::size_t NeededSlots() const {
    return sizes_.records == 0 ? 0 : static_cast<std::size_t>(config_.experts_per_token);
  }

  // A slot and the page tables that map it.
  Bytes SlotCost() const { return sizes_.record + PageTables(sizes_.record); }

  // Gives what is left to expert slots; nothing if that is too little.
  std::optional<MemoryPlan> WithExperts(MemoryPlan plan) const {
    const Bytes fixed = plan.Total();
    if (fixed > plan.budget) return std::nullopt;
    if (sizes_.records == 0) return plan;
    const Bytes fit = (plan.budget - fixed) / SlotCost();
    plan.slots = std::min({static_cast<std::size_t>(fit), sizes_.records, request_.most_slots});
    if (plan.slots < NeededSlots()) return std::nullopt;
    plan.experts = plan.slots * sizes_.record;
    plan.page_tables += plan.slots * (SlotCost() - sizes_.record);
    return plan;
  }

 private:
  // What the automatic sizes may take their share of.
  Bytes Left() const {
    const Bytes taken = request_.process + sizes_.dense + sizes_.leaf_hashes;
    return request_.budget > taken ? request_.budget - taken : 0;
  }

  const ModelConfig& config_;
  const ModelSizes& sizes_;
  const PlanRequest& request_;
  const ScratchBytes& scratch_bytes_;
};

KvLayerShape KvLayerOf(const ModelConfig& config, LayerId layer) {
  if (config.IsLatent()) {
    return {.kv_heads = 1,
            .key_dim = config.kv_lora_rank + config.rope_head_dim,
            .value_dim = config.kv_lora_rank,
            .shares_keys = true,
            .window = config.WindowOf(layer)};
  }
  return {.kv_heads = config.num_kv_heads,
          .key_dim = config.head_dim,
          .value_dim = config.head_dim,
          .shares_keys = false,
          .window = config.WindowOf(layer)};
}

Bytes TensorBytes(const TensorSpec& spec, std::optional<DType> quantize) {
  std::uint64_t elements = 1;
  for (const std::int64_t size : spec.shape) elements *= static_cast<std::uint64_t>(size);
  const bool weights = spec.role == TensorRole::kProjection || spec.role == TensorRole::kExpert;
  const auto row = static_cast<std::uint64_t>(spec.shape.back());
  if (quantize && weights && RowBytes(*quantize, row)) return *RowBytes(*quantize, elements);
  return *RowBytes(DType::kBf16, elements);
}

}  // namespace

ModelSizes SizesOfConfig(const ModelConfig& config, std::optional<DType> quantize) {
  ModelSizes sizes;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    const Bytes size = AlignUp(TensorBytes(spec, quantize), kDirectAlignment);
    if (spec.role != TensorRole::kExpert) {
      sizes.dense += size;
      if (spec.role == TensorRole::kEmbedding) sizes.embedding = size;
      continue;
    }
    sizes.experts_total += size;
  }
  sizes.records = static_cast<std::size_t>(config.NumMoeLayers()) *
                  static_cast<std::size_t>(config.num_experts);
  if (sizes.records > 0) sizes.record = sizes.experts_total / sizes.records;
  return sizes;
}

PlanResult PlanMemory(const ModelConfig& config, const ModelSizes& sizes,
                      const PlanRequest& request, const ScratchBytes& scratch_bytes) {
  const Planner planner(config, sizes, request, scratch_bytes);
  const int least_context = planner.SmallestContext();
  const MemoryPlan least = planner.Fixed(least_context, planner.SmallestUbatch(least_context));
  PlanResult result{.plan = std::nullopt,
                    .smallest = least.Total() + planner.NeededSlots() * planner.SlotCost()};
  const int context = planner.Context();
  result.plan = planner.WithExperts(planner.Fixed(context, planner.Ubatch(context)));
  if (!result.plan) result.plan = planner.WithExperts(least);
  return result;
}

KernelLimits LimitsOf(const ModelConfig& config, int ubatch, int context) {
  return {.tokens = ubatch,
          .cols = std::max({config.model_dim, config.QueryDim(), config.AttendedDim(),
                            config.ffn_dim, config.expert_ffn_dim, config.shared_ffn_dim,
                            config.q_lora_rank, config.kv_lora_rank}),
          .context = context,
          .heads = config.num_heads,
          .head_dim = config.head_dim};
}

KvShape KvShapeOf(const ModelConfig& config, DType dtype, int ubatch, int context) {
  KvShape shape{.layers = {}, .dtype = dtype, .ubatch = ubatch, .context = context};
  for (int layer = 0; layer < config.num_layers; ++layer) {
    shape.layers.push_back(KvLayerOf(config, LayerId(layer)));
  }
  return shape;
}

Bytes AutomaticBudget(const MemoryInfo& memory) {
  const Bytes kept = std::clamp<Bytes>(memory.usable / 8, 64 * kMiB, 4 * kGiB);
  return memory.usable > kept ? memory.usable - kept : 0;
}

Bytes ProcessBytes(Bytes resident) {
  constexpr Bytes kLaterCodeAndStacks = 4 * kMiB;
  return resident + kLaterCodeAndStacks;
}

}  // namespace doppler
