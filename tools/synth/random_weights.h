// Random weights of a sane size, made about as fast as a disk writes them.
//
// Gaussian rows are quantised once into a pool for each format and row length; a tensor is a copy
// of the pool that starts at a row of its own. Tensors thus differ and are the same in every run.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "backend/dtype.h"
#include "base/bytes.h"
#include "base/function_ref.h"
#include "base/thread_pool.h"
#include "model/tensors.h"

namespace doppler {

struct WeightStyle {
  // Standard deviation of the logarithm of the length of a router's rows. Long rows win more often,
  // so that some experts are chosen much more than others; 0 for a router without favourites.
  double routing_skew = 0;
  // Factor to the projections whose results are added to the hidden state. The smaller, the more a
  // token's routing depends on the token itself and the less on those before it, which all share.
  double residual_gain = 0.45;
  std::uint64_t seed = 1;
  Bytes pool_bytes = 16 * kMiB;  // of random rows, for each format, row length and deviation
};

class RandomWeights {
 public:
  RandomWeights(ThreadPool& pool, const WeightStyle& style) : threads_(pool), style_(style) {}

  // Gives the bytes of a tensor to `use`, in order and in portions. `number` tells tensors apart.
  // REQUIRES: CanQuantize(dtype); the tensor's rows are whole blocks of it.
  void Stream(const TensorSpec& spec, DType dtype, std::uint64_t number,
              FunctionRef<void(std::span<const std::byte>)> use);

 private:
  struct Pool {
    Bytes row_bytes = 0;
    std::vector<std::byte> rows;
  };

  const Pool& PoolOf(DType dtype, std::int64_t cols, double deviation);
  void StreamRouter(const TensorSpec& spec, DType dtype, std::uint64_t number,
                    FunctionRef<void(std::span<const std::byte>)> use) const;

  ThreadPool& threads_;
  WeightStyle style_;
  std::map<std::tuple<DType, std::int64_t, double>, Pool> pools_;
};

}  // namespace doppler
