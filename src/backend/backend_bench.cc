// How fast the kernels are on this machine. `ReadMemory` is the bound for one token: the matrices
// are larger than the caches. Weights per second count as stored, arithmetic as 2 per weight and
// token.
//
//   backend_bench --benchmark_filter=MatMul/avx512

#include <numeric>
#include <string>

#include <benchmark/benchmark.h>

#include "backend/kernel_cases.h"

namespace doppler {
namespace {

constexpr int kCols = 4096;

// Rows of kCols so that a matrix takes about 128 MiB.
int RowsFor(DType dtype) {
  return static_cast<int>(128 * kMiB / *RowBytes(dtype, kCols) / 16 * 16);
}

// Random blocks are slow to make: one pattern is made and repeated.
OwnedMatrix LargeMatrix(DType dtype) {
  constexpr int kPatternRows = 16;
  OwnedMatrix pattern = RandomMatrix(dtype, kPatternRows, kCols, 1);
  const int rows = RowsFor(dtype);
  OwnedMatrix out;
  out.bytes.reserve(pattern.bytes.size() * static_cast<std::size_t>(rows / kPatternRows));
  for (int row = 0; row < rows; row += kPatternRows) {
    out.bytes.insert(out.bytes.end(), pattern.bytes.begin(), pattern.bytes.end());
  }
  out.view = {.data = out.bytes.data(), .dtype = dtype, .rows = rows, .cols = kCols};
  return out;
}

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

void MatMul(benchmark::State& state, CpuPath path, DType dtype) {
  const int tokens = static_cast<int>(state.range(0));
  ThreadPool pool(static_cast<int>(state.range(1)));
  const auto backend = MakeCpuBackend(pool, path);
  backend->Reserve({.tokens = tokens, .cols = kCols});
  OwnedMatrix matrix = LargeMatrix(dtype);
  if (tokens > 1) matrix.view.rows = 1024;
  const int rows = matrix.view.rows;
  OwnedRows in(tokens, kCols, GaussianValues(tokens * kCols, 2));
  OwnedRows out(tokens, rows);
  for (auto _ : state) backend->MatMul(matrix.view, in.view(), out.view());
  const double products = static_cast<double>(rows) * kCols * tokens;
  state.counters["FLOP"] =
      benchmark::Counter(2 * products, benchmark::Counter::kIsIterationInvariantRate);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(*RowBytes(dtype, kCols)) *
                          rows);
}

struct AttentionCase {
  const char* name;
  int heads;
  int kv_heads;
  int key_dim;
  int value_dim;
  bool shares_keys;
};
// Query heads that share KV heads, and the latents of Kimi K2.
constexpr AttentionCase kGrouped = {"Attention", 32, 4, 128, 128, false};
constexpr AttentionCase kLatent = {"LatentAttention", 64, 1, 576, 512, true};

void Attention(benchmark::State& state, CpuPath path, const AttentionCase& shape) {
  constexpr int kBlockTokens = 64;
  const int tokens = static_cast<int>(state.range(0));
  const int context = static_cast<int>(state.range(1));
  ThreadPool pool(1);
  const auto backend = MakeCpuBackend(pool, path);
  backend->Reserve(
      {.tokens = tokens, .context = context, .heads = shape.heads, .head_dim = shape.key_dim});
  const int blocks = (context + kBlockTokens - 1) / kBlockTokens;
  const int elements = shape.kv_heads * kBlockTokens * shape.key_dim;
  std::vector<std::vector<std::byte>> storage(
      static_cast<std::size_t>(2 * blocks),
      std::vector<std::byte>(2 * static_cast<std::size_t>(elements)));
  std::vector<std::byte*> keys;
  std::vector<std::byte*> values;
  for (std::size_t i = 0; i < storage.size(); i += 2) {
    keys.push_back(storage[i].data());
    if (!shape.shares_keys) values.push_back(storage[i + 1].data());
  }
  const KvView kv{.keys = keys,
                  .values = values,
                  .dtype = DType::kF16,
                  .block_tokens = kBlockTokens,
                  .kv_heads = shape.kv_heads,
                  .key_dim = shape.key_dim,
                  .value_dim = shape.value_dim};
  const int query_cols = shape.heads * shape.key_dim;
  OwnedRows queries(tokens, query_cols, GaussianValues(tokens * query_cols, 3));
  OwnedRows out(tokens, shape.heads * shape.value_dim);
  const AttentionShape parameters{.heads = shape.heads, .scale = 0.1f, .sinks = {}};
  for (auto _ : state) {
    backend->Attention(queries.view(), parameters, context - tokens, kv, out.view());
  }
  const double products = 1.0 * tokens * context * shape.heads * (shape.key_dim + shape.value_dim);
  state.counters["FLOP"] =
      benchmark::Counter(2 * products, benchmark::Counter::kIsIterationInvariantRate);
}

void SwiGlu(benchmark::State& state, CpuPath path) {
  constexpr int kSize = 14336;
  ThreadPool pool(1);
  const auto backend = MakeCpuBackend(pool, path);
  OwnedRows gate(1, kSize, GaussianValues(kSize, 4));
  OwnedRows up(1, kSize, GaussianValues(kSize, 5));
  OwnedRows out(1, kSize);
  for (auto _ : state) backend->SwiGlu(gate.view(), up.view(), out.view());
  state.SetItemsProcessed(state.iterations() * kSize);
}

const bool kRegistered = [] {
  benchmark::RegisterBenchmark("ReadMemory", ReadMemory)->Arg(1)->Arg(2)->UseRealTime();
  for (const CpuPath path : RunnableCpuPaths()) {
    const std::string suffix = "/" + std::string(CpuPathName(path));
    for (const DTypeTraits& traits : kDTypes) {
      const auto run = [path, dtype = traits.dtype](benchmark::State& state) {
        MatMul(state, path, dtype);
      };
      benchmark::RegisterBenchmark(("MatMul" + suffix + "/" + std::string(traits.name)).c_str(),
                                   run)
          ->ArgNames({"tokens", "threads"})
          ->ArgsProduct({{1, 64}, {1, 2}})
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
    }
    for (const AttentionCase& shape : {kGrouped, kLatent}) {
      benchmark::RegisterBenchmark(
          (shape.name + suffix).c_str(),
          [path, shape](benchmark::State& state) { Attention(state, path, shape); })
          ->ArgNames({"tokens", "context"})
          ->Args({1, 4096})
          ->Args({64, 1024})
          ->Unit(benchmark::kMicrosecond);
    }
    benchmark::RegisterBenchmark(("SwiGlu" + suffix).c_str(),
                                 [path](benchmark::State& state) { SwiGlu(state, path); });
  }
  return true;
}();

}  // namespace
}  // namespace doppler
