#include "engine/plan.h"

#include <algorithm>
#include <cstdint>

#include "engine/layer_choice.h"
#include "model/activations.h"
#include "model/quantization.h"
#include "model/tensors.h"

namespace doppler {
namespace {

constexpr int kLargestAutomaticContext = 8192;
constexpr int kSmallestAutomaticContext = 256;
constexpr int kLargestAutomaticUbatch = 512;
constexpr int kSmallestAutomaticUbatch = 16;

// One entry of 8 bytes maps 4096 bytes.
Bytes PageTables(Bytes mapped) { return mapped / 512; }

// What the kernel keeps for memory that is read into: page tables, and its registration, 16 bytes
// for each page of 4096 unless these are parts of huge ones.
Bytes ReadTables(Bytes memory) { return PageTables(memory) + memory / 256; }

// What slots leave to the page cache, which containers count too: the program's own files as far as
// nobody else has read them. It gives way when memory is short, so that a small budget does
// without.
Bytes CacheOfFiles(Bytes budget) { return std::min(budget / 256, 24 * kMiB); }

class Planner {
 public:
  Planner(const ModelConfig& config, const ModelSizes& sizes, const PlanRequest& request,
          const ScratchBytes& scratch_bytes)
      : config_(config), sizes_(sizes), request_(request), scratch_bytes_(scratch_bytes) {
    if (request.most_resident_layers >= static_cast<std::size_t>(config.num_layers)) {
      resident_.push_back({.resident = sizes.dense});
    }
    streaming_ = LayerChoices(sizes.ends, sizes.layers, request.most_resident_layers);
  }

  // The plan, if all dense weights stay or if some are streamed; nothing if the budget is too
  // small.
  std::optional<MemoryPlan> Plan(bool streaming) const {
    const std::vector<LayerChoice>& choices = streaming ? streaming_ : resident_;
    if (choices.empty()) return std::nullopt;
    const Bytes left = Left(LeastDense(choices));
    const int context = Context(left);
    std::optional<MemoryPlan> plan = FirstThatFits(Fixed(context, Ubatch(context, left)), choices);
    return plan ? plan : FirstThatFits(Least(), choices);
  }

  // The smallest budget that would do.
  Bytes Smallest() const {
    const MemoryPlan least = Least();
    Bytes smallest = ~Bytes{0};
    for (const auto* choices : {&resident_, &streaming_}) {
      for (const LayerChoice& choice : *choices) {
        smallest = std::min(smallest, WithDense(least, choice).Total() + NeededSlotBytes());
      }
    }
    return smallest;
  }

 private:
  // Everything but the dense weights and the expert slots.
  MemoryPlan Fixed(int context, int ubatch) const {
    MemoryPlan plan{.budget = request_.budget,
                    .process = request_.process,
                    .leaf_hashes = sizes_.leaf_hashes,
                    .context = context,
                    .ubatch = ubatch,
                    .records = sizes_.records};
    plan.kv = KvShapeOf(config_, request_.kv_dtype, ubatch, context).TotalBytes();
    plan.activations =
        Activations::SizeOf(config_, {.ubatch = ubatch, .logit_rows = request_.logit_rows});
    plan.scratch = scratch_bytes_(LimitsOf(config_, ubatch, context));
    return plan;
  }

  // With as little context and as small a ubatch as may be.
  MemoryPlan Least() const {
    const int context = SmallestContext();
    return Fixed(context, SmallestUbatch(context));
  }

  static Bytes LeastDense(const std::vector<LayerChoice>& choices) {
    Bytes least = ~Bytes{0};
    for (const LayerChoice& choice : choices) {
      least = std::min(least, choice.resident + choice.buffers);
    }
    return least;
  }

  // What the automatic sizes may take their share of.
  Bytes Left(Bytes dense) const {
    const Bytes taken = request_.process + dense + sizes_.leaf_hashes;
    return request_.budget > taken ? request_.budget - taken : 0;
  }

  int Context(Bytes left) const {
    if (request_.context > 0) return request_.context;
    const auto kv_bytes = [this](int context) {
      const int ubatch = SmallestUbatch(context);
      return KvShapeOf(config_, request_.kv_dtype, ubatch, context).TotalBytes();
    };
    int context = std::min(config_.context_length, kLargestAutomaticContext);
    while (context > SmallestContext() && kv_bytes(context) > left / 4) {
      context = std::max(context / 2, SmallestContext());
    }
    return context;
  }

  int Ubatch(int context, Bytes left) const {
    if (request_.ubatch > 0) return request_.ubatch;
    int ubatch = std::min(context, kLargestAutomaticUbatch);
    while (ubatch > SmallestUbatch(context)) {
      const MemoryPlan plan = Fixed(context, ubatch);
      if (plan.activations + plan.scratch <= left / 8) break;
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
    return NeededSlots() * (sizes_.LargestRecord() + ReadTables(sizes_.LargestRecord()));
  }

  static MemoryPlan WithDense(MemoryPlan plan, const LayerChoice& choice) {
    plan.dense = choice.resident;
    plan.stream = choice.buffers;
    plan.streamed_per_pass = choice.streamed;
    plan.page_tables = PageTables(plan.Total() - plan.stream) + ReadTables(plan.stream);
    return plan;
  }

  std::optional<MemoryPlan> FirstThatFits(const MemoryPlan& fixed,
                                          const std::vector<LayerChoice>& choices) const {
    for (const LayerChoice& choice : choices) {
      std::optional<MemoryPlan> plan = WithExperts(WithDense(fixed, choice));
      if (!plan) continue;
      plan->streamed = choice.streamed_layers;
      return plan;
    }
    return std::nullopt;
  }

  // Gives what is left to expert slots; nothing if that is too little.
  std::optional<MemoryPlan> WithExperts(MemoryPlan plan) const {
    const Bytes fixed = plan.Total();
    if (fixed > plan.budget) return std::nullopt;
    if (sizes_.records == 0) return plan;
    const Bytes left = plan.budget - fixed;
    const Bytes cache = std::min(left, CacheOfFiles(plan.budget));
    for (const Bytes bytes : {left - cache, left}) {
      plan.slots_of_class =
          DealSlots(sizes_.slot_classes, NeededSlots(), bytes, request_.most_slots, ReadTables);
      if (!plan.slots_of_class.empty()) break;
    }
    if (plan.slots_of_class.empty()) return std::nullopt;
    for (std::size_t i = 0; i < plan.slots_of_class.size(); ++i) {
      const std::size_t slots = plan.slots_of_class[i];
      plan.slots += slots;
      plan.experts += slots * sizes_.slot_classes[i].bytes;
      plan.page_tables += slots * ReadTables(sizes_.slot_classes[i].bytes);
    }
    return plan;
  }

  const ModelConfig& config_;
  const ModelSizes& sizes_;
  const PlanRequest& request_;
  const ScratchBytes& scratch_bytes_;
  std::vector<LayerChoice> resident_;   // that all dense weights stay, if they may
  std::vector<LayerChoice> streaming_;  // that some do not
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

}  // namespace

FormatOf FormatsFromBf16(const ModelConfig& config, std::optional<DType> quantize) {
  return [quantize, has_experts = config.num_experts > 0](const TensorSpec& spec) {
    const std::optional<DType> quantized =
        quantize ? QuantizedFormat(spec, *quantize, has_experts) : std::nullopt;
    return quantized.value_or(DType::kBf16);
  };
}

ModelSizes SizesOfConfig(const ModelConfig& config, const FormatOf& format_of) {
  ModelSizes sizes;
  sizes.layers.resize(static_cast<std::size_t>(config.num_layers));
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    const Bytes size = AlignUp(TensorBytes(format_of(spec), spec.shape).value(), kDirectAlignment);
    if (spec.role != TensorRole::kExpert) {
      sizes.dense += size;
      (spec.layer < 0 ? sizes.ends : sizes.layers[LayerId(spec.layer).index()]) += size;
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

ModelCounts CountsOf(const ModelConfig& config, const ModelSizes& sizes) {
  ModelCounts counts;
  std::uint64_t experts = 0;
  std::uint64_t lookup = 0;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    counts.parameters += ElementCount(spec.shape);
    if (spec.role == TensorRole::kExpert) experts += ElementCount(spec.shape);
    if (spec.role == TensorRole::kEmbedding && !config.tied_embeddings)
      lookup = ElementCount(spec.shape);
  }
  counts.active_parameters = counts.parameters - experts - lookup;
  counts.active = sizes.dense - (config.tied_embeddings ? 0 : sizes.embedding);
  if (config.num_experts > 0) {
    const auto used = static_cast<std::uint64_t>(config.experts_per_token);
    counts.active_parameters += experts / static_cast<std::uint64_t>(config.num_experts) * used;
    counts.token_read = sizes.experts_total / static_cast<Bytes>(config.num_experts) * used;
    counts.active += counts.token_read;
  }
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const KvLayerShape kv = KvLayerOf(config, LayerId(layer));
    const int positions = kv.window > 0 ? std::min(kv.window, 1024) : 1024;
    const int values = kv.kv_heads * (kv.key_dim + (kv.shares_keys ? 0 : kv.value_dim));
    counts.kv_per_1k += static_cast<Bytes>(positions) * static_cast<Bytes>(values) * 2;
  }
  return counts;
}

PlanResult PlanMemory(const ModelConfig& config, const ModelSizes& sizes,
                      const PlanRequest& request, const ScratchBytes& scratch_bytes) {
  const Planner planner(config, sizes, request, scratch_bytes);
  PlanResult result{.plan = planner.Plan(false), .smallest = planner.Smallest()};
  if (!result.plan) result.plan = planner.Plan(true);
  return result;
}

KernelLimits LimitsOf(const ModelConfig& config, int ubatch, int context) {
  return {.tokens = ubatch,
          .cols = std::max({config.model_dim, config.QueryDim(), config.AttendedDim(),
                            config.ffn_dim, config.expert_ffn_dim, config.shared_ffn_dim,
                            config.q_lora_rank, config.num_heads * config.kv_lora_rank}),
          .kept_cols = config.num_experts > 0 ? config.model_dim : 0,
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
  constexpr Bytes kLaterCodeAndStacks = 6 * kMiB;
  return resident + kLaterCodeAndStacks;
}

}  // namespace doppler
