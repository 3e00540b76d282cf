// Measures how fast a model prefills and decodes.
#pragma once

#include <vector>

#include "engine/engine.h"

namespace doppler {

struct BenchmarkShape {
  int prefill = 512;    // tokens of the prompt, at least one
  int decode = 64;      // tokens after it; may be 0
  int repetitions = 3;  // at least one
};

// Prefill or decode of one repetition.
struct BenchmarkRun {
  double seconds = 0;
  ExpertCacheStats experts;
  WeightStreamStats stream;
  SpeculationStats guesses;

  double StallSeconds() const { return experts.stall_seconds + stream.stall_seconds; }
  Bytes BytesRead() const { return experts.bytes_read + stream.bytes_read; }
};

struct BenchmarkPhase {
  int tokens = 0;
  std::vector<BenchmarkRun> runs;  // the fastest first

  // The run of median time. REQUIRES: there are runs.
  const BenchmarkRun& Median() const { return runs[runs.size() / 2]; }
  double TokensPerSecond() const { return tokens / Median().seconds; }
};

struct Benchmark {
  BenchmarkPhase prefill;
  BenchmarkPhase decode;  // without runs if the shape has no tokens for it
};

// Random tokens in prefill and in decode, in each repetition others, every time the same: what a
// model says to itself without a prompt soon goes in circles, and its experts would stay the same
// few. The first repetition starts with empty expert slots, the others with what the one before
// left. Throws what Session::Append throws. REQUIRES: the engine's context has room.
Benchmark RunBenchmark(Engine& engine, const BenchmarkShape& shape);

}  // namespace doppler
