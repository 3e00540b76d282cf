// How a memory budget is spent: a pure function from a model's sizes to bytes per purpose.
//
//   budget = process + page tables + dense + stream + leaf hashes + KV + activations + scratch +
//   slots
//
// If the dense weights do not fit, some layers stay on disk and stream through buffers in each
// pass.
//
// `doppler plan` prints the plan and the engine allocates by it, so both say the same.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "io/machine.h"
#include "model/config.h"
#include "model/tensors.h"
#include "tier/expert_source.h"
#include "tier/kv_pool.h"

namespace doppler {

// What a model asks of memory, from its artifact or from its configuration alone.
struct ModelSizes {
  Bytes dense = 0;                           // weights that every token needs, as they are read
  Bytes embedding = 0;                       // of these, the token table
  Bytes ends = 0;                            // of these, what belongs to no layer
  std::vector<Bytes> layers = {};            // and what each layer takes by itself
  Bytes leaf_hashes = 0;                     // in memory while the model is open
  std::vector<SlotClass> slot_classes = {};  // sizes of expert records, largest first
  Bytes experts_total = 0;                   // all expert records
  std::size_t records = 0;                   // experts in all layers

  // The largest expert record; 0 if there are no experts.
  Bytes LargestRecord() const { return slot_classes.empty() ? 0 : slot_classes[0].bytes; }
};

// The format of each tensor of a model that is not there yet.
using FormatOf = std::function<DType(const TensorSpec&)>;
ModelSizes SizesOfConfig(const ModelConfig& config, const FormatOf& format_of);
// bf16, with the formats that `convert --quant` gives to bf16 if `quantize` is one.
FormatOf FormatsFromBf16(const ModelConfig& config, std::optional<DType> quantize);

// What a model is in numbers, whatever runs it.
struct ModelCounts {
  std::uint64_t parameters = 0;
  std::uint64_t active_parameters = 0;  // that one token is multiplied with
  Bytes active = 0;                     // their bytes
  Bytes token_read = 0;                 // of these, experts: what a token reads if none is resident
  Bytes kv_per_1k = 0;                  // f16 KV of 1024 tokens; a windowed layer keeps its window
};
ModelCounts CountsOf(const ModelConfig& config, const ModelSizes& sizes);

struct PlanRequest {
  Bytes budget = 0;
  Bytes process = 0;  // what the process holds before it loads anything, with a margin
  int context = 0;    // positions; 0: as many as a quarter of what is left holds
  int ubatch = 0;     // tokens at once in prefill; 0: as many as an eighth of what is left holds
  int logit_rows = 1;
  std::size_t most_slots = ~std::size_t{0};            // fewer than fit, for tests and measurements
  std::size_t most_resident_layers = ~std::size_t{0};  // likewise
  DType kv_dtype = DType::kF16;
};

struct MemoryPlan {
  Bytes budget = 0;
  Bytes process = 0;
  Bytes page_tables = 0;  // the kernel's; a container's accounting includes them
  Bytes dense = 0;        // that stay
  Bytes stream = 0;       // buffers for the others
  Bytes leaf_hashes = 0;
  Bytes kv = 0;
  Bytes activations = 0;
  Bytes scratch = 0;
  Bytes experts = 0;

  int context = 0;
  int ubatch = 0;
  std::vector<std::size_t> slots_of_class = {};  // of each of ModelSizes::slot_classes
  std::size_t slots = 0;                         // of all classes
  std::size_t records = 0;
  std::vector<LayerId> streamed = {};  // layers whose dense weights do not stay, ascending
  Bytes streamed_per_pass = 0;         // what these are read for each pass

  Bytes Total() const {
    return process + page_tables + dense + stream + leaf_hashes + kv + activations + scratch +
           experts;
  }
};

struct PlanResult {
  std::optional<MemoryPlan> plan;  // nothing if the budget is too small
  Bytes smallest = 0;              // the smallest budget that would do for the same request
};

// The bytes of a backend's scratch memory.
using ScratchBytes = std::function<Bytes(const KernelLimits&)>;

PlanResult PlanMemory(const ModelConfig& config, const ModelSizes& sizes,
                      const PlanRequest& request, const ScratchBytes& scratch_bytes);

// The largest kernel calls that a ubatch and a context lead to.
KernelLimits LimitsOf(const ModelConfig& config, int ubatch, int context);

KvShape KvShapeOf(const ModelConfig& config, DType dtype, int ubatch, int context);

// The budget when the user names none: what the machine and the container leave to this process,
// less an eighth (64 MiB to 4 GiB) for everything else that runs.
Bytes AutomaticBudget(const MemoryInfo& memory);

// What to count for a process that holds `resident` bytes now: those, code that is not mapped yet,
// thread stacks, and what each thread that hashes keeps (format/sha256.h).
Bytes ProcessBytes(Bytes resident);

}  // namespace doppler
