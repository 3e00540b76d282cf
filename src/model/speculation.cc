#include "model/speculation.h"

#include <algorithm>
#include <cmath>

#include "base/stopwatch.h"
#include "model/layer.h"

namespace doppler {
namespace {

// What a router can choose from.
int MostPredictions(const ModelConfig& config) {
  if (config.routing != RoutingKind::kSigmoid) return config.num_experts;
  return config.num_experts / config.expert_groups * config.expert_groups_used;
}

}  // namespace

SpeculationStats operator-(const SpeculationStats& after, const SpeculationStats& before) {
  return {.predictions = after.predictions - before.predictions,
          .right = after.right - before.right,
          .seconds = after.seconds - before.seconds};
}

std::size_t SpeculationReserve(int predictions) {
  constexpr std::size_t kLayers = 2;
  return kLayers * static_cast<std::size_t>(predictions);
}

std::optional<LayerId> NextMoeLayer(const ModelConfig& config, LayerId layer) {
  for (LayerId next(layer.value + 1); next.value < config.num_layers; ++next.value) {
    if (config.HasExperts(next)) return next;
  }
  return std::nullopt;
}

bool PredictExperts(const Model& model, LayerId layer, Activations& activations,
                    std::span<RoutedExpert> predicted) {
  const LayerWeights& weights = model.weights.layers[layer.index()];
  const Rows input = Head(activations.branch, 1);
  const Rows scores = Head(activations.scores, 1);
  Normalize(model, weights.ffn_norm, Head(activations.hidden, 1), input);
  Project(model, weights.router, input, scores);
  const std::span<float> row(scores.Row(0), static_cast<std::size_t>(scores.cols));
  if (!std::all_of(row.begin(), row.end(), [](float score) { return std::isfinite(score); })) {
    return false;
  }
  RouteToken(model.config, row, weights.router_correction, predicted);
  return true;
}

Speculation::Speculation(const ModelConfig& config, int predictions)
    : predicted_(static_cast<std::size_t>(std::min(predictions, MostPredictions(config)))),
      experts_(predicted_.size()) {}

void Speculation::Compare(LayerId layer, std::span<const RoutedExpert> routed) {
  const bool mine = layer_ == layer;
  layer_.reset();
  if (!mine) return;
  for (const RoutedExpert& choice : routed) {
    stats_.right += std::count(experts_.begin(), experts_.end(), choice.expert);
  }
  stats_.predictions += experts_.size();
}

void Speculation::ReadAhead(const Model& model, LayerId layer, Activations& activations) {
  const Stopwatch watch(stats_.seconds);
  const std::optional<LayerId> next = NextMoeLayer(model.config, layer);
  if (!next || (model.streamed != nullptr && !model.streamed->IsResident(*next))) return;
  // A guess costs a router, and here nothing is to be read.
  if (model.experts->AllResident(*next)) return;
  if (!PredictExperts(model, *next, activations, predicted_)) return;
  std::transform(predicted_.begin(), predicted_.end(), experts_.begin(),
                 [](const RoutedExpert& predicted) { return predicted.expert; });
  layer_ = next;
  const auto spare = static_cast<std::size_t>(model.config.experts_per_token);
  model.experts->Speculate(*next, experts_, spare);
}

}  // namespace doppler
