// Guesses which experts the next layer will want, so that they are read while this layer computes.
//
// The next router is applied to what is known of its input when this layer's router has chosen: the
// residual stream before this layer's experts, through the norm that stands before the next router.
// (Eliseev and Mazur, arxiv 2312.17238, apply the next layer's gate to the present hidden state;
// the norm is that gate's own, since its weights were trained behind it.) What is guessed only
// decides what is read, so that the answer does not depend on it.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "model/activations.h"
#include "model/forward.h"

namespace doppler {

// Slots that decode leaves to what is guessed, so that it need not evict what was used: the guesses
// of two layers. 0 without predictions.
std::size_t SpeculationReserve(int predictions);

// One thread at a time.
class Speculation {
 public:
  // Predicts `predictions` experts per layer, or as many as its router can choose.
  // REQUIRES: the configuration has experts, predictions > 0.
  Speculation(const ModelConfig& config, int predictions);

  // What a layer's router chose for a single token. Counts the predictions that were right.
  void Compare(LayerId layer, std::span<const RoutedExpert> routed);
  // Predicts the experts of the next layer that has any and starts to read them in the background.
  // Does nothing if there is no such layer, or if its router is not resident. Uses
  // activations.branch and .scores. Does not allocate. REQUIRES: activations.hidden holds one
  // token, `layer` has acquired its experts and computed none.
  void ReadAhead(const Model& model, LayerId layer, Activations& activations);

  // For each layer.
  int predictions() const { return static_cast<int>(experts_.size()); }
  const SpeculationStats& stats() const { return stats_; }

 private:
  std::vector<RoutedExpert> predicted_;  // the most probable first
  std::vector<ExpertId> experts_;        // the same
  std::optional<LayerId> layer_;         // that they are for, until it has chosen
  SpeculationStats stats_;
};

// The next layer that has experts; nothing if there is none.
std::optional<LayerId> NextMoeLayer(const ModelConfig& config, LayerId layer);

// Fills `predicted` with what `layer`'s router chooses for the first row of activations.hidden, the
// most probable first. False if the scores are not finite, which is for the layer itself to report.
// Uses activations.branch and .scores. REQUIRES: the layer has experts and its router is resident.
bool PredictExperts(const Model& model, LayerId layer, Activations& activations,
                    std::span<RoutedExpert> predicted);

}  // namespace doppler
