// Quantises a stream of float weights on all threads.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "backend/dtype.h"
#include "base/thread_pool.h"

namespace doppler {

class Quantizer {
 public:
  explicit Quantizer(ThreadPool& pool) : pool_(pool) {}

  // The blocks of `to` for weights in `from`, a portion of the tensor `name`. The result is good
  // until the next call. Throws Error for a weight that Quantize does not take: NaN, infinite, or
  // too large. REQUIRES: CanQuantize(to), and `weights` is a whole number of blocks of both.
  std::span<const std::byte> Run(DType from, std::span<const std::byte> weights, DType to,
                                 const std::string& name);

 private:
  ThreadPool& pool_;
  std::vector<float> floats_;
  std::vector<std::byte> blocks_;
};

}  // namespace doppler
