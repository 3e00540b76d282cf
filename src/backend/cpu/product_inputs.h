// The activations of matrix products, as the kernels of a path read them: quantised once for all
// the products of a call, and of what is kept once for all that read it.
#pragma once

#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/quantized_scratch.h"
#include "base/thread_pool.h"

namespace doppler {

// Used by one thread, which shares its work with the pool's.
class ProductInputs {
 public:
  ProductInputs(ThreadPool& pool, const CpuKernels& kernels) : pool_(pool), kernels_(kernels) {}

  Bytes ScratchBytes(const KernelLimits& limits) const;
  void Reserve(const KernelLimits& limits);

  // Whether products with these weights read rows() and not floats.
  bool AreQuantized(DType weights) const;
  // What was prepared last.
  const QuantizedRows& rows() const { return quantized_; }

  // Prepares the rows of `in` for these weights.
  void Prepare(DType weights, ConstRows in);
  // Prepares the columns of each head, `in_step` apart: rows [heads, tokens].
  void PrepareHeads(DType weights, ConstRows in, int in_step, int heads, int cols);

  // As Backend::Keep.
  void Keep(ConstRows in);
  // Prepares these rows of what is kept; the same as floats if the weights read those.
  ConstRows PrepareKept(DType weights, std::span<const int> rows);

 private:
  // Scratch memory for rows of `cols` values, as those weights read them.
  static QuantizedRows PlaceFor(QuantizedRows scratch, DType weights, int cols);
  void Quantize(ConstRows in, const QuantizedRows& out);
  void QuantizeKept(DType weights);
  void Gather(DType weights, std::span<const int> rows);

  ThreadPool& pool_;
  const CpuKernels& kernels_;
  KernelLimits limits_{.tokens = 0, .cols = 0};
  std::vector<CacheLine> scratch_;
  QuantizedRows call_scratch_;
  QuantizedRows kept_scratch_;
  float* chosen_ = nullptr;  // rows of kept_in_
  QuantizedRows quantized_;  // of the call in progress, in call_scratch_
  // The rows of what is kept that `quantized_` holds; none if it holds something else.
  std::vector<int> gathered_;
  ConstRows kept_in_;
  QuantizedRows kept_;  // kept_in_, in kept_scratch_; without columns until it is wanted
};

}  // namespace doppler
