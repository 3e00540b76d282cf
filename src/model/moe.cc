#include "model/moe.h"

#include <algorithm>
#include <array>

#include "base/alloc_guard.h"
#include "base/error.h"
#include "model/expert_schedule.h"
#include "model/layer.h"
#include "model/speculation.h"

namespace doppler {
namespace {

// Fills activations.routed: experts_per_token choices for each token.
void Route(const Model& model, LayerId layer, int tokens, int first_position,
           Activations& activations) {
  const auto k = static_cast<std::size_t>(model.config.experts_per_token);
  const Rows scores = Head(activations.scores, tokens);
  const LayerWeights& weights = model.weights.layers[layer.index()];
  Project(model, weights.router, Head(activations.normed, tokens), scores);
  const std::span routed(activations.routed.data(), static_cast<std::size_t>(tokens) * k);
  for (int t = 0; t < tokens; ++t) {
    RouteToken(model.config, {scores.Row(t), static_cast<std::size_t>(scores.cols)},
               weights.router_correction, routed.subspan(static_cast<std::size_t>(t) * k, k));
  }
  if (model.speculation != nullptr && tokens == 1) model.speculation->Compare(layer, routed);
  if (model.on_route) {
    const AllowAllocScope observer;
    model.on_route(layer, first_position, routed);
  }
}

// Sorts the choices by expert, each expert's in token order: those of expert e are
// assignments[first_assignment[e]] to assignments[first_assignment[e + 1] - 1].
//   routed 2 0 | 2 1  ->  assignments 1 3 0 2, first_assignment 0 1 2 4
void GroupByExpert(const Model& model, int tokens, Activations& activations) {
  const int count = tokens * model.config.experts_per_token;
  std::vector<int>& first = activations.first_assignment;
  std::fill(first.begin(), first.end(), 0);
  for (int i = 0; i < count; ++i) {
    ++first[activations.routed[static_cast<std::size_t>(i)].expert.index() + 1];
  }
  for (std::size_t e = 1; e < first.size(); ++e) first[e] += first[e - 1];
  for (int i = 0; i < count; ++i) {
    int& place = first[activations.routed[static_cast<std::size_t>(i)].expert.index()];
    activations.assignments[static_cast<std::size_t>(place++)] = i;
  }
  // Each entry has moved to the end of its expert's run, which is where the next one's begins.
  std::copy_backward(first.begin(), first.end() - 1, first.end());
  first[0] = 0;
  for (int place = 0; place < count; ++place) {
    const auto choice =
        static_cast<std::size_t>(activations.assignments[static_cast<std::size_t>(place)]);
    activations.assigned_tokens[static_cast<std::size_t>(place)] =
        static_cast<int>(choice) / model.config.experts_per_token;
    activations.places[choice] = place;
    activations.mix_weights[choice] = activations.routed[choice].weight;
  }
}

// The tokens that chose one expert.
std::span<const int> TokensOf(ExpertId expert, const Activations& activations) {
  const auto begin = static_cast<std::size_t>(activations.first_assignment[expert.index()]);
  const auto end = static_cast<std::size_t>(activations.first_assignment[expert.index() + 1]);
  return std::span(activations.assigned_tokens).subspan(begin, end - begin);
}

// Rows [first, first + rows) and the first `cols` columns.
Rows Middle(const Rows& all, int first, int rows, int cols) {
  DOPPLER_CHECK(first + rows <= all.rows && cols <= all.cols);
  return {all.Row(first), rows, cols, all.stride};
}

Gating GatingOf(const ModelConfig& config) {
  constexpr float kAlpha = 1.702F;
  return {.clamped = config.swiglu_limit > 0, .alpha = kAlpha, .limit = config.swiglu_limit};
}

// Row `expert` of `biases`, which row `place` of activations.bias then holds; empty without biases.
std::span<const float> BiasOf(const Model& model, const WeightMatrix& biases, ExpertId expert,
                              std::size_t place, Activations& activations) {
  if (!model.config.expert_bias) return {};
  const Rows bias = Middle(activations.bias, static_cast<int>(place), 1, biases.cols);
  const TokenId row = expert.value;
  model.backend.GatherRows(biases, {&row, 1}, bias);
  return {bias.Row(0), static_cast<std::size_t>(bias.cols)};
}

using Batch = std::span<ExpertTask* const>;

// The gated units over the tokens that chose each expert. REQUIRES: the backend keeps the layer's
// normed activations.
void RunGatedUnits(const Model& model, LayerId layer, Batch batch, Activations& activations) {
  const ExpertBiases& biases = model.weights.layers[layer.index()].expert_biases;
  std::array<GatedProduct, kMostExpertsTogether> units;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const ExpertTask& task = *batch[i];
    const ExpertView& expert = task.lease.view();
    const int width = model.config.expert_ffn_dim;
    units[i] = {
        .rows = TokensOf(task.expert, activations),
        .gate = &expert.gate,
        .up = &expert.up,
        .gate_bias = BiasOf(model, biases.gate, task.expert, 2 * i, activations),
        .up_bias = BiasOf(model, biases.up, task.expert, 2 * i + 1, activations),
        .up_values = Middle(activations.up, task.row, task.tokens, width),
        .out = Middle(activations.gate, task.row, task.tokens, width),
    };
  }
  model.backend.MatMulGatedOfKept(std::span(units).first(batch.size()), GatingOf(model.config));
}

// The down projections, into the experts' rows of expert_out.
void RunDown(const Model& model, LayerId layer, Batch batch, Activations& activations) {
  const ExpertBiases& biases = model.weights.layers[layer.index()].expert_biases;
  std::array<Product, kMostExpertsTogether> products;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const ExpertTask& task = *batch[i];
    const int first = activations.first_assignment[task.expert.index()];
    products[i] = {
        .weights = &task.lease.view().down,
        .in = Middle(activations.gate, task.row, task.tokens, model.config.expert_ffn_dim),
        .out = Middle(activations.expert_out, first, task.tokens, model.config.model_dim)};
  }
  model.backend.MatMulAll(std::span(products).first(batch.size()));
  if (!model.config.expert_bias) return;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    model.backend.AddBias(BiasOf(model, biases.down, batch[i]->expert, 0, activations),
                          products[i].out);
  }
}

// One task for each expert that any token chose.
std::span<ExpertTask> ListTasks(const Model& model, Activations& activations) {
  std::size_t count = 0;
  for (int e = 0; e < model.config.num_experts; ++e) {
    const auto tokens = static_cast<int>(TokensOf(ExpertId(e), activations).size());
    if (tokens == 0) continue;
    ExpertTask& task = activations.tasks[count++];
    task.expert = ExpertId(e);
    task.tokens = tokens;
    task.next = ExpertStage::kGateAndUp;
    task.row = -1;
  }
  return std::span(activations.tasks).first(count);
}

// Pages in and computes; returns the tasks that were done.
std::span<const ExpertTask> RunExperts(const Model& model, LayerId layer, int tokens,
                                       Activations& activations) {
  const std::span<ExpertTask> tasks = ListTasks(model, activations);
  ExpertSchedule schedule(model, layer, tokens, tasks,
                          std::span(activations.wanted).first(tasks.size()),
                          std::span(activations.leases).first(tasks.size()), activations.gate.rows);
  // Behind this layer's own reads, and while they are waited for.
  if (model.speculation != nullptr && tokens == 1 && schedule.Acquire()) {
    model.speculation->ReadAhead(model, layer, activations);
  }
  for (Batch batch = schedule.Next(); !batch.empty(); batch = schedule.Next()) {
    const bool down = batch.front()->next == ExpertStage::kDown;
    (down ? RunDown : RunGatedUnits)(model, layer, batch, activations);
    for (ExpertTask* task : batch) schedule.Done(*task);
  }
  return tasks;
}

SpeculationStats GuessesSoFar(const Model& model) {
  return model.speculation == nullptr ? SpeculationStats() : model.speculation->stats();
}

void AddUp(const Model& model, int tokens, Activations& activations) {
  const auto choices = static_cast<std::size_t>(tokens) * model.config.experts_per_token;
  model.backend.MixRows(activations.expert_out, std::span(activations.places).first(choices),
                        std::span(activations.mix_weights).first(choices),
                        Head(activations.branch, tokens));
}

}  // namespace

void MoeFfn(const Model& model, LayerId layer, int tokens, int first_position,
            Activations& activations) {
  const Stopwatch watch(model.times.experts);
  const Clock::time_point begin = Clock::now();
  // A decode step asks for the counters only if someone looks at them.
  const ExpertCacheStats before = model.on_experts ? model.experts->stats() : ExpertCacheStats();
  const SpeculationStats guesses_before = GuessesSoFar(model);
  Route(model, layer, tokens, first_position, activations);
  GroupByExpert(model, tokens, activations);
  model.backend.Keep(Head(activations.normed, tokens));
  const std::span<const ExpertTask> tasks = RunExperts(model, layer, tokens, activations);
  AddUp(model, tokens, activations);
  if (!model.on_experts) return;
  const AllowAllocScope observer;
  model.on_experts({.layer = layer,
                    .first_position = first_position,
                    .tokens = tokens,
                    .tasks = tasks,
                    .begin = begin,
                    .end = Clock::now(),
                    .cache = model.experts->stats() - before,
                    .guesses = GuessesSoFar(model) - guesses_before});
}

}  // namespace doppler
