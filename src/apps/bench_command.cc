#include <algorithm>
#include <chrono>
#include <random>
#include <vector>

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/report.h"
#include "base/interrupt.h"
#include "io/machine.h"
#include "store/local_store.h"

namespace doppler {
namespace {

// One measured phase of one run.
struct Sample {
  double seconds = 0;
  ExpertCacheStats experts;
  WeightStreamStats stream;
};

struct Samples {
  int tokens = 0;
  std::vector<Sample> runs;

  // The run of median time.
  const Sample& Median() const { return runs[runs.size() / 2]; }
  double TokensPerSecond() const { return tokens / Median().seconds; }
  void Sort() {
    std::sort(runs.begin(), runs.end(),
              [](const Sample& a, const Sample& b) { return a.seconds < b.seconds; });
  }
};

// Random tokens, the same in every run: the routing of real text is the model's business, and a
// benchmark must not depend on a tokenizer.
std::vector<TokenId> RandomTokens(int count, int vocab_size) {
  std::mt19937 random(1);
  std::vector<TokenId> tokens(static_cast<std::size_t>(count));
  for (TokenId& token : tokens) {
    token = static_cast<TokenId>(random() % static_cast<unsigned>(vocab_size));
  }
  return tokens;
}

TokenId MostProbable(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

template <typename Work>
Sample Measure(const Engine& engine, Work&& work) {
  const ExpertCacheStats experts = engine.expert_stats();
  const WeightStreamStats stream = engine.stream_stats();
  const auto start = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  return {.seconds = took.count(),
          .experts = engine.expert_stats() - experts,
          .stream = engine.stream_stats() - stream};
}

void RunOnce(Session& session, const Engine& engine, const std::vector<TokenId>& prompt,
             Samples& prefill, Samples& decode) {
  session.Truncate(0);
  TokenId next = 0;
  prefill.runs.push_back(Measure(engine, [&] { next = MostProbable(session.Append(prompt)); }));
  if (decode.tokens == 0) return;
  decode.runs.push_back(Measure(engine, [&] {
    for (int i = 0; i < decode.tokens; ++i) {
      ThrowIfInterrupted();
      next = MostProbable(session.Append({&next, 1}));
    }
  }));
}

OrderedJson ToJson(const Samples& samples) {
  const ExpertCacheStats& experts = samples.Median().experts;
  const WeightStreamStats& stream = samples.Median().stream;
  return {{"tokens", samples.tokens},
          {"seconds_median", samples.Median().seconds},
          {"seconds_min", samples.runs.front().seconds},
          {"seconds_max", samples.runs.back().seconds},
          {"tokens_per_second", samples.TokensPerSecond()},
          {"expert_hits", experts.hits},
          {"expert_misses", experts.misses},
          {"expert_bytes_read", experts.bytes_read},
          {"streamed_bytes_read", stream.bytes_read},
          {"stall_seconds", experts.stall_seconds + stream.stall_seconds}};
}

void PrintPhase(const char* name, const Samples& samples) {
  const ExpertCacheStats& experts = samples.Median().experts;
  const double uses =
      static_cast<double>(std::max<std::uint64_t>(experts.hits + experts.misses, 1));
  fmt::print(
      "{:<8} {:>5} tokens  {:>9.1f} tokens/s  ({:.3f} to {:.3f} s)  hits {:.1f} %, read {}\n", name,
      samples.tokens, samples.TokensPerSecond(), samples.runs.front().seconds,
      samples.runs.back().seconds, 100 * static_cast<double>(experts.hits) / uses,
      FormatSize(experts.bytes_read + samples.Median().stream.bytes_read));
}

}  // namespace

void RunBench(const BenchCommand& command) {
  EngineOptions options = command.engine;
  options.with_tokenizer = false;
  if (options.context == 0) options.context = command.prefill + command.decode;
  if (options.context < command.prefill + command.decode) {
    throw UsageError("--context is smaller than --prefill and --decode together");
  }
  Engine engine(ResolveModel(command.model), options);
  Session session(engine);
  const std::vector<TokenId> prompt = RandomTokens(command.prefill, engine.config().vocab_size);
  Samples prefill{.tokens = command.prefill, .runs = {}};
  Samples decode{.tokens = command.decode, .runs = {}};
  for (int run = 0; run < command.repetitions; ++run) {
    RunOnce(session, engine, prompt, prefill, decode);
  }
  prefill.Sort();
  decode.Sort();
  if (command.json) {
    OrderedJson json = {{"model", engine.artifact().manifest().model_id},
                        {"backend", engine.backend().name()},
                        {"cpu_path", engine.backend().path()},
                        {"threads", engine.threads()},
                        {"repetitions", command.repetitions},
                        {"prefill", ToJson(prefill)},
                        {"decode", command.decode > 0 ? ToJson(decode) : OrderedJson(nullptr)},
                        {"peak_resident_bytes", PeakResidentBytes()},
                        {"plan", PlanToJson(engine.plan())}};
    PrintJson(json);
    return;
  }
  PrintPhase("prefill", prefill);
  if (command.decode > 0) PrintPhase("decode", decode);
  fmt::print("peak memory {} of a budget of {}\n", FormatSize(PeakResidentBytes()),
             FormatSize(engine.plan().budget));
}

}  // namespace doppler
