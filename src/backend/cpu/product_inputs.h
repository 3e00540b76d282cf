// The activations of matrix products, as the kernels of a path read them: quantised once for all
// the products of a call, and of what is kept once for all that read it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/quantized_scratch.h"
#include "base/thread_pool.h"

namespace doppler {

// What a product reads: floats, or the same quantised; that has no rows if it reads floats.
struct ProductInput {
  ConstRows floats;
  QuantizedRows quantized;
};

// Used by one thread, which shares its work with the pool's.
class ProductInputs {
 public:
  ProductInputs(ThreadPool& pool, const CpuKernels& kernels) : pool_(pool), kernels_(kernels) {}

  Bytes ScratchBytes(const KernelLimits& limits) const;
  void Reserve(const KernelLimits& limits);

  // Of the calls to come; at first decode.
  void SetPhase(Phase phase) { phase_ = phase; }

  // Forgets what was prepared for the last call.
  void Begin();
  // The rows of `in` for these weights; nothing if they no longer fit beside what was prepared
  // since Begin. The first always fit.
  std::optional<ProductInput> Prepare(DType weights, ConstRows in);
  // The same of the columns of each head, `in_step` apart: rows [heads, tokens].
  ProductInput PrepareHeads(DType weights, ConstRows in, int in_step, int heads, int cols);

  // As Backend::Keep.
  void Keep(ConstRows in);
  const ConstRows& kept() const { return kept_in_; }
  // These rows of what is kept, as Prepare. What `rows` points to stays as it is until Begin.
  std::optional<ProductInput> PrepareKept(DType weights, std::span<const int> rows);

 private:
  // How weights read activations: as they are, or as int8 or bf16 with residuals or without. Those
  // of one call that are not floats are all int8 or all bf16, which share memory.
  enum class Form : std::uint8_t {
    kFloats,
    kInt8,
    kInt8WithResiduals,
    kHalves,
    kHalvesWithResiduals
  };

  // Rows that were prepared: floats that begin at `of`, or rows of what is kept whose list does.
  struct Entry {
    const void* of;
    Form form;
    ProductInput input;
  };

  Form FormFor(DType weights, Phase phase) const;
  static bool IsHalves(Form form) {
    return form == Form::kHalves || form == Form::kHalvesWithResiduals;
  }
  // Values from one row to the next, but for those of heads.
  static int StrideFor(Form form, int cols) { return IsHalves(form) ? cols : PaddedStride(cols); }
  // Values that rows take the place of.
  static std::ptrdiff_t RoomFor(Form form, int rows, int stride);
  static QuantizedRows InForm(Form form, QuantizedRows rows, int cols, int stride);
  // Those rows in that form, if they are there.
  std::optional<ProductInput> Find(Form form, const void* of, int rows) const;
  ProductInput Enter(Form form, const void* of, const ProductInput& input);
  // Place for rows of `cols` values. REQUIRES: Fits.
  QuantizedRows Place(Form form, int rows, int cols, int stride);
  bool Fits(Form form, int rows, int stride) const;
  void Quantize(ConstRows in, const QuantizedRows& out);
  bool QuantizeKept(Form form);
  // Whether `rows` is all that is kept, in order.
  bool AreAllKept(std::span<const int> rows) const;
  std::optional<ConstRows> GatherFloats(std::span<const int> rows);

  ThreadPool& pool_;
  const CpuKernels& kernels_;
  Phase phase_ = Phase::kDecode;
  KernelLimits limits_{.tokens = 0, .cols = 0};
  std::vector<CacheLine> scratch_;
  QuantizedRows call_scratch_;
  QuantizedRows kept_scratch_;
  float* chosen_ = nullptr;  // rows of kept_in_
  int chosen_rows_ = 0;
  // What was prepared since Begin: one after the other in call_scratch_, or in chosen_.
  std::vector<Entry> entries_;
  std::ptrdiff_t used_ = 0;  // values of call_scratch_
  ConstRows kept_in_;
  bool kept_in_use_ = false;  // by products of the call, as it lies in kept_scratch_
  QuantizedRows kept_;        // kept_in_, in kept_scratch_; without columns until it is wanted
};

}  // namespace doppler
