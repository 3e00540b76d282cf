#include "backend/cpu/product_inputs.h"

#include <algorithm>

#include "backend/cpu/row_pieces.h"
#include "backend/quantize.h"
#include "base/error.h"

namespace doppler {
namespace {

// Makers train in MXFP4, so that its weights are exact; 16 bits keep the activations from being
// what an answer loses by.
constexpr bool ReadsResiduals(DType weights) { return weights == DType::kMxfp4; }

}  // namespace

Bytes ProductInputs::ScratchBytes(const KernelLimits& limits) const {
  return ScratchLayout(limits, kernels_).end;
}

void ProductInputs::Reserve(const KernelLimits& limits) {
  limits_ = limits;
  const ScratchLayout layout(limits, kernels_);
  scratch_.resize(layout.end / sizeof(CacheLine));
  gathered_.clear();
  gathered_.reserve(static_cast<std::size_t>(limits.tokens));
  auto* base = reinterpret_cast<std::byte*>(scratch_.data());
  call_scratch_ = layout.call.At(base);
  kept_scratch_ = layout.kept.At(base);
  chosen_ = reinterpret_cast<float*>(base + layout.chosen);
}

bool ProductInputs::AreQuantized(DType weights) const {
  return !IsFloat(weights) && !HasScaleGrid(weights) && kernels_.quantize != nullptr;
}

QuantizedRows ProductInputs::PlaceFor(QuantizedRows scratch, DType weights, int cols) {
  if (!ReadsResiduals(weights)) {
    scratch.residuals = nullptr;
    scratch.unsigned_residuals = nullptr;
  }
  scratch.cols = cols;
  return scratch;
}

void ProductInputs::Quantize(ConstRows in, const QuantizedRows& out) {
  ForEachRow(pool_, in.rows, in.cols,
             [&](int t) { kernels_.quantize(in.Row(t), RowsFrom(out, t)); });
}

void ProductInputs::Prepare(DType weights, ConstRows in) {
  if (!AreQuantized(weights)) return;
  DOPPLER_CHECK(in.rows <= limits_.tokens && in.cols <= limits_.cols);
  quantized_ = PlaceFor(call_scratch_, weights, in.cols);
  gathered_.clear();
  Quantize(in, quantized_);
}

void ProductInputs::PrepareHeads(DType weights, ConstRows in, int in_step, int heads, int cols) {
  if (!AreQuantized(weights)) return;
  DOPPLER_CHECK(in.rows <= limits_.tokens && heads * cols <= limits_.cols);
  quantized_ = PlaceFor(call_scratch_, weights, cols);
  gathered_.clear();
  ForEachRow(pool_, in.rows, heads * cols, [&](int t) {
    for (int head = 0; head < heads; ++head) {
      kernels_.quantize(in.Row(t) + head * in_step, RowsFrom(quantized_, head * in.rows + t));
    }
  });
}

void ProductInputs::Keep(ConstRows in) {
  DOPPLER_CHECK(in.rows <= limits_.tokens && in.cols <= limits_.kept_cols);
  kept_in_ = in;
  kept_.cols = 0;
  gathered_.clear();
}

ConstRows ProductInputs::PrepareKept(DType weights, std::span<const int> rows) {
  DOPPLER_CHECK(rows.size() <= static_cast<std::size_t>(limits_.tokens));
  for (const int row : rows) DOPPLER_CHECK(row >= 0 && row < kept_in_.rows);
  const ConstRows in{chosen_, static_cast<int>(rows.size()), kept_in_.cols, kept_in_.cols};
  if (AreQuantized(weights)) {
    Gather(weights, rows);
    return in;
  }
  ForEachRow(pool_, in.rows, in.cols, [&](int i) {
    std::copy_n(kept_in_.Row(rows[static_cast<std::size_t>(i)]), in.cols,
                chosen_ + static_cast<std::ptrdiff_t>(i) * in.cols);
  });
  return in;
}

// Unless what was kept is there already, as those weights read it.
void ProductInputs::QuantizeKept(DType weights) {
  const QuantizedRows wanted = PlaceFor(kept_scratch_, weights, kept_in_.cols);
  if (kept_.cols == wanted.cols && kept_.residuals == wanted.residuals) return;
  kept_ = wanted;
  Quantize(kept_in_, kept_);
}

// An expert's gate and up read the same rows: they are copied once.
void ProductInputs::Gather(DType weights, std::span<const int> rows) {
  QuantizeKept(weights);
  const QuantizedRows wanted = PlaceFor(call_scratch_, weights, kept_in_.cols);
  if (std::ranges::equal(rows, gathered_) && quantized_.residuals == wanted.residuals) return;
  quantized_ = wanted;
  gathered_.assign(rows.begin(), rows.end());
  ForEachRow(pool_, static_cast<int>(rows.size()), quantized_.cols,
             [&](int i) { CopyRow(kept_, rows[static_cast<std::size_t>(i)], quantized_, i); });
}

}  // namespace doppler
