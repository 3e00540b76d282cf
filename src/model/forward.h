// The forward pass: tokens and their KV in, logits out.
//
// Written by hand and read from top to bottom: Forward calls one layer function per layer, which
// the family table chooses. The page-in point of experts is one line of MoeFfn, that of dense
// weights one line of Forward.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/ids.h"
#include "base/stopwatch.h"
#include "model/activations.h"
#include "model/config.h"
#include "model/rope.h"
#include "model/streamed_layers.h"
#include "model/weights.h"
#include "tier/expert_cache.h"
#include "tier/kv_pool.h"

namespace doppler {

// Sees every choice of a router: the chosen experts of `first_position`, the next position, ...,
// experts_per_token each. For tests and traces.
using RouterObserver =
    std::function<void(LayerId layer, int first_position, std::span<const RoutedExpert> routed)>;

class Speculation;

// What was guessed of experts before their router had spoken.
struct SpeculationStats {
  std::uint64_t predictions = 0;
  std::uint64_t right = 0;  // of these, experts that their layer chose
  double seconds = 0;       // spent predicting and queueing reads
};
SpeculationStats operator-(const SpeculationStats& after, const SpeculationStats& before);

// One layer's experts in one pass, as they were paged in and computed. For traces.
struct ExpertPass {
  LayerId layer;
  int first_position = 0;
  int tokens = 0;
  std::span<const ExpertTask> tasks;  // the experts and how many tokens chose each
  Clock::time_point begin;            // before the router
  Clock::time_point end;
  ExpertCacheStats cache;    // what the cache did meanwhile
  SpeculationStats guesses;  // of this layer those that were right, the time for the next one's
};
using ExpertObserver = std::function<void(const ExpertPass& pass)>;

// Where the time of passes went, in seconds.
struct PassTimes {
  double layers = 0;   // embedding, all layers, final norm
  double experts = 0;  // of these: router, paging in and computing experts
  double head = 0;     // logits
};

// Everything a forward pass reads. All of it outlives the passes.
struct Model {
  const ModelConfig& config;
  const Weights& weights;
  Backend& backend;
  ExpertCache* experts = nullptr;      // null for a model without experts
  StreamedLayers* streamed = nullptr;  // null if all dense weights are resident
  Speculation* speculation = nullptr;  // null if nothing is read that no router has asked for
  Rope rope;
  Rope long_rope;             // of long texts (ModelConfig::IsLongText)
  RouterObserver on_route;    // may be empty
  ExpertObserver on_experts;  // may be empty
  PassTimes& times;           // counts up
};

// One layer over `tokens` rows of activations.hidden, the first at `first_position`.
using LayerFunction = void (*)(const Model& model, LayerId layer, int tokens, int first_position,
                               const KvView& kv, Activations& activations);

// Runs `tokens`, the first of which stands at `first_position`, with the rotary angles of `rope`,
// and leaves their final hidden states in activations.normed. Pages experts in as the routers ask
// for them, and layers that are not resident. Throws Error when weights cannot be read,
// InterruptedError on Ctrl-C. Does not allocate, unless it throws. REQUIRES: 1 <= tokens.size() <=
// the ubatch; ids are in the vocabulary; `kv` has grown to hold them.
void Forward(const Model& model, const Rope& rope, Phase phase, std::span<const TokenId> tokens,
             int first_position, const KvTable& kv, Activations& activations);

// The logits of rows [first_row, first_row + rows) of the last pass, in activations.logits.
// REQUIRES: rows <= limits.logit_rows.
ConstRows Logits(const Model& model, int first_row, int rows, Activations& activations);

}  // namespace doppler
