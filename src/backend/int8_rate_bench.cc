#include <cstdint>

#include <benchmark/benchmark.h>

#include "backend/int8_rate.h"

namespace doppler {
namespace {

constexpr int kValues = 1024;

int RunScalar(int rounds) {
  static std::int8_t weights[kValues];
  static std::int8_t activations[kValues];
  // Someone else may know of them, so that what they hold is read each time.
  benchmark::DoNotOptimize(&weights);
  benchmark::DoNotOptimize(&activations);
  int sum = 0;
  for (int round = 0; round < rounds; ++round) {
    benchmark::ClobberMemory();
    for (int i = 0; i < kValues; ++i) sum += weights[i] * activations[i];
  }
  return sum;
}

}  // namespace

Int8Kernel CompiledInt8Products() { return {RunScalar, kValues}; }

}  // namespace doppler
