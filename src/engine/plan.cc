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

// What the kernel keeps for a slot: page tables, and where its memory is registered for reads, 16
// bytes for each page of 4096 unless these are parts of huge ones.
Bytes SlotTables(Bytes slot) { return PageTables(slot) + slot / 256; }

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
    const KvShape kv = KvShapeOf(config_, request_.kv_dtype);
    plan.kv = static_cast<Bytes>(kv.BlocksFor(context)) * kv.BlockBytes();
    plan.activations =
        Activations::SizeOf(config_, {.ubatch = ubatch, .logit_rows = request_.logit_rows});
    plan.scratch = scratch_bytes_(LimitsOf(config_, ubatch, context));
    plan.page_tables = PageTables(plan.Total());
    return plan;
  }

  int Context() const {
    if (request_.context > 0) return request_.context;
    const KvShape kv = KvShapeOf(config_, request_.kv_dtype);
    int context = std::min(config_.context_length, kLargestAutomaticContext);
    while (context > SmallestContext() &&
           static_cast<Bytes>(kv.BlocksFor(context)) * kv.BlockBytes() > Left() / 4) {
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

  // What the least number of slots takes.
  Bytes NeededSlotBytes() const {
    return NeededSlots() * (sizes_.LargestRecord() + SlotTables(sizes_.LargestRecord()));
  }

  // Gives what is left to expert slots; nothing if that is too little.
  std::optional<MemoryPlan> WithExperts(MemoryPlan plan) const {
    const Bytes fixed = plan.Total();
    if (fixed > plan.budget) return std::nullopt;
    if (sizes_.records == 0) return plan;
    plan.slots_of_class = DealSlots(sizes_.slot_classes, NeededSlots(), plan.budget - fixed,
                                    request_.most_slots, SlotTables);
    if (plan.slots_of_class.empty()) return std::nullopt;
    for (std::size_t i = 0; i < plan.slots_of_class.size(); ++i) {
      const std::size_t slots = plan.slots_of_class[i];
      plan.slots += slots;
      plan.experts += slots * sizes_.slot_classes[i].bytes;
      plan.page_tables += slots * SlotTables(sizes_.slot_classes[i].bytes);
    }
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
  if (sizes.records > 0) {
    sizes.slot_classes = {{sizes.experts_total / sizes.records, sizes.records}};
  }
  return sizes;
}

PlanResult PlanMemory(const ModelConfig& config, const ModelSizes& sizes,
                      const PlanRequest& request, const ScratchBytes& scratch_bytes) {
  const Planner planner(config, sizes, request, scratch_bytes);
  const int least_context = planner.SmallestContext();
  const MemoryPlan least = planner.Fixed(least_context, planner.SmallestUbatch(least_context));
  PlanResult result{.plan = std::nullopt, .smallest = least.Total() + planner.NeededSlotBytes()};
  const int context = planner.Context();
  result.plan = planner.WithExperts(planner.Fixed(context, planner.Ubatch(context)));
  if (!result.plan) result.plan = planner.WithExperts(least);
  return result;
}

KernelLimits LimitsOf(const ModelConfig& config, int ubatch, int context) {
  const int query_dim = config.num_heads * config.head_dim;
  return {.tokens = ubatch,
          .cols = std::max({config.model_dim, query_dim, config.ffn_dim, config.expert_ffn_dim}),
          .context = context,
          .heads = config.num_heads,
          .head_dim = config.head_dim};
}

KvShape KvShapeOf(const ModelConfig& config, DType dtype) {
  return {.layers = config.num_layers,
          .kv_heads = config.num_kv_heads,
          .head_dim = config.head_dim,
          .dtype = dtype};
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
