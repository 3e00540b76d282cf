#include "model/activations.h"

#include <algorithm>

namespace doppler {
namespace {

// Rows start on cache lines.
constexpr int kRowFloats = 16;

int FfnWidth(const ModelConfig& config) {
  return std::max({config.ffn_dim, config.expert_ffn_dim, config.shared_ffn_dim});
}

// Lays arrays out one after the other; without memory it only counts.
class Carver {
 public:
  explicit Carver(std::byte* memory) : memory_(memory) {}

  Rows Take(int rows, int cols) {
    const int stride = (cols + kRowFloats - 1) / kRowFloats * kRowFloats;
    float* data = memory_ == nullptr ? nullptr : reinterpret_cast<float*>(memory_ + taken_);
    taken_ += static_cast<Bytes>(rows) * static_cast<Bytes>(stride) * sizeof(float);
    return {data, rows, cols, stride};
  }

  Bytes taken() const { return taken_; }

 private:
  std::byte* memory_;
  Bytes taken_ = 0;
};

// `out` may be null: then nothing is written.
Bytes Carve(const ModelConfig& config, const ActivationLimits& limits, std::byte* memory,
            Activations* out) {
  Carver carver(memory);
  const auto take = [&](Rows Activations::*member, int rows, int cols) {
    const Rows rows_of = carver.Take(rows, cols);
    if (out != nullptr) out->*member = rows_of;
  };
  const int n = limits.ubatch;
  take(&Activations::hidden, n, config.model_dim);
  take(&Activations::normed, n, config.model_dim);
  take(&Activations::branch, n, config.model_dim);
  take(&Activations::query, n, config.QueryDim());
  if (config.IsLatent()) {
    const int latent = config.kv_lora_rank + config.rope_head_dim;
    take(&Activations::key, n, latent);
    if (config.q_lora_rank > 0) take(&Activations::query_latent, n, config.q_lora_rank);
    take(&Activations::absorbed, n, config.num_heads * latent);
    take(&Activations::attended_latent, n, config.num_heads * config.kv_lora_rank);
  } else {
    take(&Activations::key, n, config.num_kv_heads * config.head_dim);
    take(&Activations::value, n, config.num_kv_heads * config.head_dim);
  }
  take(&Activations::attended, n, config.AttendedDim());
  take(&Activations::cos, n, config.RotaryDim() / 2);
  take(&Activations::sin, n, config.RotaryDim() / 2);
  // The experts of a single token are under way side by side.
  const int expert_rows = std::max(n, config.experts_per_token);
  take(&Activations::gate, expert_rows, FfnWidth(config));
  take(&Activations::up, expert_rows, FfnWidth(config));
  take(&Activations::logits, limits.logit_rows, config.vocab_size);
  if (config.num_experts > 0) {
    take(&Activations::scores, n, config.num_experts);
    if (config.expert_bias) {
      take(&Activations::bias, 2 * std::min(config.num_experts, kMostExpertsTogether),
           std::max(config.expert_ffn_dim, config.model_dim));
    }
    take(&Activations::expert_out, n * config.experts_per_token, config.model_dim);
  }
  return carver.taken();
}

std::size_t Assignments(const ModelConfig& config, const ActivationLimits& limits) {
  return static_cast<std::size_t>(limits.ubatch) *
         static_cast<std::size_t>(config.experts_per_token);
}

}  // namespace

Bytes Activations::SizeOf(const ModelConfig& config, const ActivationLimits& limits) {
  const Bytes per_assignment = sizeof(RoutedExpert) + 3 * sizeof(int) + sizeof(float);
  return Carve(config, limits, nullptr, nullptr) + Assignments(config, limits) * per_assignment +
         static_cast<Bytes>(config.num_experts + 1) * sizeof(int) +
         static_cast<Bytes>(config.num_experts) *
             (sizeof(ExpertTask) + sizeof(ExpertId) + sizeof(ExpertLease));
}

Activations::Activations(const ModelConfig& config, const ActivationLimits& chosen,
                         MemoryBudget& budget)
    : limits(chosen),
      routed(Assignments(config, chosen)),
      first_assignment(static_cast<std::size_t>(config.num_experts) + 1),
      assignments(Assignments(config, chosen)),
      assigned_tokens(Assignments(config, chosen)),
      places(Assignments(config, chosen)),
      mix_weights(Assignments(config, chosen)),
      tasks(static_cast<std::size_t>(config.num_experts)),
      wanted(static_cast<std::size_t>(config.num_experts)),
      leases(static_cast<std::size_t>(config.num_experts)),
      reservation_(
          budget.ReserveOrThrow(SizeOf(config, chosen), "the activations", "raise --host-memory")),
      memory_(Carve(config, chosen, nullptr, nullptr)) {
  Carve(config, chosen, memory_.data(), this);
}

}  // namespace doppler
