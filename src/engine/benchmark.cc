#include "engine/benchmark.h"

#include <algorithm>
#include <random>
#include <span>

#include "base/interrupt.h"
#include "base/stopwatch.h"
#include "engine/session.h"

namespace doppler {
namespace {

std::vector<TokenId> RandomTokens(int count, int vocab_size, int seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::vector<TokenId> tokens(static_cast<std::size_t>(count));
  for (TokenId& token : tokens) {
    token = static_cast<TokenId>(random() % static_cast<unsigned>(vocab_size));
  }
  return tokens;
}

template <typename Work>
BenchmarkRun Measure(const Engine& engine, Work&& work) {
  const ExpertCacheStats experts = engine.expert_stats();
  const WeightStreamStats stream = engine.stream_stats();
  const SpeculationStats guesses = engine.speculation_stats();
  const Clock::time_point start = Clock::now();
  work();
  const double seconds = SecondsBetween(start, Clock::now());
  return {.seconds = seconds,
          .experts = engine.expert_stats() - experts,
          .stream = engine.stream_stats() - stream,
          .guesses = engine.speculation_stats() - guesses};
}

void SortByTime(BenchmarkPhase& phase) {
  std::sort(phase.runs.begin(), phase.runs.end(),
            [](const BenchmarkRun& a, const BenchmarkRun& b) { return a.seconds < b.seconds; });
}

}  // namespace

Benchmark RunBenchmark(Engine& engine, const BenchmarkShape& shape) {
  Benchmark result{.prefill = {.tokens = shape.prefill, .runs = {}},
                   .decode = {.tokens = shape.decode, .runs = {}}};
  Session session(engine);
  for (int repetition = 0; repetition < shape.repetitions; ++repetition) {
    const std::vector<TokenId> tokens =
        RandomTokens(shape.prefill + shape.decode, engine.config().vocab_size, repetition + 1);
    const auto prompt = static_cast<std::size_t>(shape.prefill);
    session.Truncate(0);
    result.prefill.runs.push_back(
        Measure(engine, [&] { session.Append(std::span(tokens).first(prompt)); }));
    if (shape.decode == 0) continue;
    result.decode.runs.push_back(Measure(engine, [&] {
      for (std::size_t i = prompt; i < tokens.size(); ++i) {
        ThrowIfInterrupted();
        session.Append({&tokens[i], 1});
      }
    }));
  }
  SortByTime(result.prefill);
  SortByTime(result.decode);
  return result;
}

}  // namespace doppler
