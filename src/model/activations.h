// The memory a forward pass computes in, sized once for the largest ubatch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "base/bytes.h"
#include "io/mapped_memory.h"
#include "model/config.h"
#include "model/router.h"
#include "tier/budget.h"
#include "tier/expert_cache.h"

namespace doppler {

struct ActivationLimits {
  int ubatch = 1;      // tokens in one forward pass
  int logit_rows = 1;  // tokens whose logits are wanted at once
};

// The most experts that are computed in one go.
inline constexpr int kMostExpertsTogether = 32;

enum class ExpertStage : std::uint8_t { kGateAndUp, kDown };

// One expert's way through a layer: what is next, and where its tokens stand.
struct ExpertTask {
  ExpertId expert;
  int tokens = 0;  // that chose it
  ExpertLease lease;
  ExpertStage next = ExpertStage::kGateAndUp;
  int row = -1;  // of gate and up, its first; -1 before it begins
};

// Shapes are those of the largest ubatch; a pass of n tokens uses the first n rows.
struct Activations {
  Activations(const ModelConfig& config, const ActivationLimits& limits, MemoryBudget& budget);

  // The bytes that the constructor takes, for the plan.
  static Bytes SizeOf(const ModelConfig& config, const ActivationLimits& limits);

  ActivationLimits limits;

  Rows hidden;    // [ubatch, model_dim], the residual stream
  Rows normed;    // [ubatch, model_dim]
  Rows branch;    // [ubatch, model_dim], what attention or the ffn adds to hidden
  Rows query;     // [ubatch, heads * head_dim]
  Rows key;       // [ubatch, kv_heads * head_dim], or the latent: [ubatch, rank + rope_head_dim]
  Rows value;     // [ubatch, kv_heads * head_dim], not with latent attention
  Rows attended;  // [ubatch, heads * value dim]
  Rows cos;       // [ubatch, rotary_dim / 2]
  Rows sin;       // [ubatch, rotary_dim / 2]
  // [max(ubatch, experts_per_token), the widest of the ffn, an expert and the shared experts]
  Rows gate;
  Rows up;      // as gate
  Rows logits;  // [logit_rows, vocab_size]

  // Of latent attention.
  Rows query_latent;     // [ubatch, q_lora_rank], if there is one
  Rows absorbed;         // [ubatch, heads * (rank + rope_head_dim)], queries of the latent
  Rows attended_latent;  // [ubatch, heads * rank]

  // [2 * most experts together, max(expert_ffn_dim, model_dim)]: of those that are computed in one
  // go
  Rows bias;
  Rows scores;      // [ubatch, num_experts]
  Rows expert_out;  // [ubatch * experts_per_token, model_dim], in the order of assignments

  std::vector<RoutedExpert> routed;   // [ubatch * experts_per_token]
  std::vector<int> first_assignment;  // [num_experts + 1], into assignments
  // [ubatch * experts_per_token]: indices of routed, by expert; the tokens of these; and, by the
  // index in routed, the place among the assignments and the weight.
  std::vector<int> assignments;
  std::vector<int> assigned_tokens;
  std::vector<int> places;
  std::vector<float> mix_weights;
  std::vector<ExpertTask> tasks;    // [num_experts]
  std::vector<ExpertId> wanted;     // [num_experts]
  std::vector<ExpertLease> leases;  // [num_experts]

 private:
  Reservation reservation_;
  MappedMemory memory_;
};

// The first `rows` rows.
inline Rows Head(const Rows& all, int rows) { return {all.data, rows, all.cols, all.stride}; }
// The first `rows` rows and `cols` columns.
inline Rows Head(const Rows& all, int rows, int cols) { return {all.data, rows, cols, all.stride}; }

}  // namespace doppler
