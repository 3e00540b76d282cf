#include "model/forward.h"

#include "base/error.h"
#include "base/interrupt.h"
#include "model/families.h"
#include "model/layer.h"
#include "model/rope.h"

namespace doppler {
namespace {

StreamLease PageIn(const Model& model, LayerId layer) {
  return model.streamed == nullptr ? StreamLease() : model.streamed->PageIn(layer);
}

}  // namespace

void Forward(const Model& model, const Rope& rope, Phase phase, std::span<const TokenId> tokens,
             int first_position, const KvTable& kv, Activations& activations) {
  const Stopwatch watch(model.times.layers);
  const ModelConfig& config = model.config;
  const int n = static_cast<int>(tokens.size());
  DOPPLER_CHECK(n >= 1 && n <= activations.limits.ubatch);
  const Rows hidden = Head(activations.hidden, n);
  const LayerFunction run_layer = FamilyByName(config.family).layer;

  model.backend.Begin(phase);
  model.backend.GatherRows(model.weights.embedding, tokens, hidden);
  FillRope(rope, first_position, Head(activations.cos, n), Head(activations.sin, n));
  for (int layer = 0; layer < config.num_layers; ++layer) {
    ThrowIfInterrupted();
    const StreamLease weights = PageIn(model, LayerId(layer));
    run_layer(model, LayerId(layer), n, first_position, kv.View(LayerId(layer)), activations);
  }
  Normalize(model, model.weights.final_norm, hidden, Head(activations.normed, n));
}

ConstRows Logits(const Model& model, int first_row, int rows, Activations& activations) {
  DOPPLER_CHECK(rows <= activations.limits.logit_rows);
  const Stopwatch watch(model.times.head);
  const Rows& normed = activations.normed;
  const Rows out = Head(activations.logits, rows);
  model.backend.Begin(Phase::kDecode);
  Project(model, model.weights.output, {normed.Row(first_row), rows, normed.cols, normed.stride},
          out);
  return out;
}

}  // namespace doppler
