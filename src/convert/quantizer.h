// Quantises a stream of float weights on all threads.
#pragma once

#include <span>
#include <vector>

#include "backend/dtype.h"
#include "base/thread_pool.h"

namespace doppler {

class Quantizer {
 public:
  explicit Quantizer(ThreadPool& pool) : pool_(pool) {}

  // The blocks of `to` for values of the float format `from`. The result is good until the next
  // call. REQUIRES: CanQuantize(to), and `values` is a whole number of its blocks.
  std::span<const std::byte> Run(DType from, std::span<const std::byte> values, DType to);

 private:
  ThreadPool& pool_;
  std::vector<float> floats_;
  std::vector<std::byte> blocks_;
};

}  // namespace doppler
