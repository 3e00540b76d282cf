// How fast the kernels of the list (kernel_list.h) are on this machine, and what bounds them:
// `ReadMemory` for one token, since matrices are larger than the caches, and `MultiplyInt8` for
// many. Weights per second count as stored, arithmetic as 2 per weight and token.
// bench/kernels.py prints it as a table.
//
//   backend_bench --benchmark_filter=MatMul/avx512

#include <numeric>
#include <string>

#include <benchmark/benchmark.h>

#include "backend/int8_rate.h"
#include "backend/kernel_list.h"

namespace doppler {
namespace {

void ReadMemory(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  const std::vector<std::uint64_t> memory(128 * kMiB / sizeof(std::uint64_t), 1);
  for (auto _ : state) {
    pool.ParallelFor(memory.size(), kMiB, [&](std::size_t begin, std::size_t end) {
      std::uint64_t sums[8] = {};
      for (std::size_t i = begin; i < end; i += 8) {
        for (std::size_t lane = 0; lane < 8; ++lane) sums[lane] += memory[i + lane];
      }
      benchmark::DoNotOptimize(std::accumulate(sums, sums + 8, std::uint64_t{0}));
    });
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(128 * kMiB));
}

// Nothing but a path's products of int8, in registers.
void MultiplyInt8(benchmark::State& state, CpuPath path) {
  constexpr int kRounds = 1000000;
  ThreadPool pool(static_cast<int>(state.range(0)));
  const auto threads = static_cast<std::size_t>(pool.size());
  const auto kernel = Int8Products(path);
  for (auto _ : state) {
    pool.ParallelFor(threads, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) benchmark::DoNotOptimize(kernel.run(kRounds));
    });
  }
  state.counters["FLOP"] =
      benchmark::Counter(2.0 * kRounds * kernel.products_per_round * static_cast<double>(threads),
                         benchmark::Counter::kIsIterationInvariantRate);
}

std::string LabelOf(const KernelShape& shape) {
  std::string label = "/tokens:" + std::to_string(shape.tokens);
  if (shape.context > 1) label += "/context:" + std::to_string(shape.context);
  if (shape.shares_keys) label += "/latent";
  return label;
}

void Time(benchmark::State& state, const KernelCase& entry, const KernelShape& shape) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  const auto backend = BackendOf(pool, entry.path);
  const KernelWork work = entry.spec.make(entry.type, shape);
  backend->Reserve(work.limits);
  for (auto _ : state) work.run(*backend);
  if (work.operations > 0) {
    state.counters["FLOP"] =
        benchmark::Counter(work.operations, benchmark::Counter::kIsIterationInvariantRate);
  }
  if (work.bytes > 0) {
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(work.bytes));
  }
}

template <class Run>
void Register(const std::string& name, const Run& run) {
  benchmark::RegisterBenchmark(name.c_str(), run)
      ->ArgNames({"threads"})
      ->Arg(1)
      ->Arg(2)
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
}

const bool kRegistered = [] {
  Register("ReadMemory", ReadMemory);
  for (const CpuPath path : RunnableCpuPaths()) {
    Register("MultiplyInt8/" + std::string(CpuPathName(path)),
             [path](benchmark::State& state) { MultiplyInt8(state, path); });
  }
  for (const KernelCase& entry : AllKernelCases()) {
    for (const KernelShape& shape : entry.spec.timed) {
      Register(entry.Name() + LabelOf(shape),
               [entry, shape](benchmark::State& state) { Time(state, entry, shape); });
    }
  }
  return true;
}();

}  // namespace
}  // namespace doppler
