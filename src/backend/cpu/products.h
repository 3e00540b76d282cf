// The matrix products of the cpu backend: prepares activations, cuts the rows of weights into
// pieces for the threads and hands them to the table of kernels.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/product_inputs.h"
#include "backend/cpu/ungrouped_rows.h"
#include "base/function_ref.h"
#include "base/thread_pool.h"

namespace doppler {

// Used by one thread, which shares its work with the pool's. See backend.h for what the functions
// do.
class CpuProducts {
 public:
  CpuProducts(ThreadPool& pool, const CpuKernels& kernels);

  Bytes ScratchBytes(const KernelLimits& limits) const;
  void Reserve(const KernelLimits& limits);

  void Begin(Phase phase) { inputs_.SetPhase(phase); }
  void MatMulAll(std::span<const Product> products);
  void MatMulGated(std::span<const GatedProduct> units, const Gating& gating, ConstRows in);
  void Keep(ConstRows in) { inputs_.Keep(in); }
  void MatMulGatedOfKept(std::span<const GatedProduct> units, const Gating& gating);
  void MatMulHeads(const HeadMatrices& weights, ConstRows in, int in_step, Rows out, int out_step);

 private:
  // A matrix and the activations that it reads.
  struct Operands {
    const WeightMatrix* weights;
    Bytes row_bytes;
    ProductInput in;
  };
  struct PreparedProduct {
    Operands operands;
    Rows out;
  };
  struct PreparedUnit {
    const GatedProduct* unit;
    Operands gate;
    Operands up;
  };
  // A unit's activations for weights of a type; nothing if they do not fit beside those of the
  // call.
  using Prepare = FunctionRef<std::optional<ProductInput>(const GatedProduct& unit, DType weights)>;

  void RunProducts();
  void RunUnits(const Gating& gating);
  void MultiplyUnits(std::span<const GatedProduct> units, const Gating& gating, Prepare prepare);
  bool AddUnit(const GatedProduct& unit, Prepare prepare);
  void RunApart(const GatedProduct& unit, const Gating& gating, Prepare prepare);

  // Rows [begin, end) of the weights times all tokens.
  void Multiply(const Operands& operands, int begin, int end, Rows out);
  void MultiplyInOrder(const Operands& operands, int begin, int end, Rows out) const;
  void MultiplyUngrouped(const Operands& operands, int begin, int end, Rows out);
  // What the unit makes of rows [begin, end) of its products.
  void Activate(const GatedProduct& unit, const Gating& gating, int begin, int end) const;

  ThreadPool& pool_;
  const CpuKernels& kernels_;
  const FetchDistance fetch_distance_;
  ProductInputs inputs_;
  UngroupedRows ungrouped_;  // of layouts that kernels do not read
  // What the next loop of the threads computes.
  std::vector<PreparedProduct> products_;
  std::vector<PreparedUnit> units_;
};

}  // namespace doppler
