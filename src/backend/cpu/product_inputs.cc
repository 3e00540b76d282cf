#include "backend/cpu/product_inputs.h"

#include <algorithm>

#include "backend/cpu/row_pieces.h"
#include "backend/quantize.h"
#include "base/error.h"

namespace doppler {
namespace {

// The most lists of rows that one call prepares.
constexpr std::size_t kMaxEntries = 64;

}  // namespace

Bytes ProductInputs::ScratchBytes(const KernelLimits& limits) const {
  return ScratchLayout(limits, kernels_).end;
}

void ProductInputs::Reserve(const KernelLimits& limits) {
  limits_ = limits;
  const ScratchLayout layout(limits, kernels_);
  scratch_.resize(layout.end / sizeof(CacheLine));
  entries_.clear();
  entries_.reserve(kMaxEntries);
  auto* base = reinterpret_cast<std::byte*>(scratch_.data());
  call_scratch_ = layout.call.At(base);
  kept_scratch_ = layout.kept.At(base);
  chosen_ = reinterpret_cast<float*>(base + layout.chosen);
}

// Makers train in MXFP4, so that its weights are exact; 16 bits keep the activations from being
// what an answer loses by.
ProductInputs::Form ProductInputs::FormFor(DType weights, Phase phase) const {
  if (IsFloat(weights) || HasScaleGrid(weights) || kernels_.quantize == nullptr) {
    return Form::kFloats;
  }
  const bool with_residuals = weights == DType::kMxfp4;
  if (phase == Phase::kPrompt && kernels_.to_halves != nullptr) {
    return with_residuals ? Form::kHalvesWithResiduals : Form::kHalves;
  }
  return with_residuals ? Form::kInt8WithResiduals : Form::kInt8;
}

std::ptrdiff_t ProductInputs::RoomFor(Form form, int rows, int stride) {
  return std::ptrdiff_t{IsHalves(form) ? InHalfTiles(rows) : rows} * stride;
}

void ProductInputs::Begin() {
  entries_.clear();
  used_ = 0;
  chosen_rows_ = 0;
  kept_in_use_ = false;
}

std::optional<ProductInput> ProductInputs::Find(Form form, const void* of, int rows) const {
  for (const Entry& entry : entries_) {
    if (entry.of == of && entry.form == form && entry.input.floats.rows == rows) return entry.input;
  }
  return std::nullopt;
}

ProductInput ProductInputs::Enter(Form form, const void* of, const ProductInput& input) {
  entries_.push_back({of, form, input});
  return input;
}

bool ProductInputs::Fits(Form form, int rows, int stride) const {
  const std::ptrdiff_t room = RoomFor(form, limits_.tokens, StrideFor(form, limits_.cols));
  return entries_.size() < kMaxEntries && used_ + RoomFor(form, rows, stride) <= room;
}

QuantizedRows ProductInputs::InForm(Form form, QuantizedRows rows, int cols, int stride) {
  if (IsHalves(form)) {
    return {.halves = rows.halves,
            .half_residuals = form == Form::kHalves ? nullptr : rows.half_residuals,
            .cols = cols,
            .stride = stride};
  }
  rows.halves = nullptr;
  rows.half_residuals = nullptr;
  if (form != Form::kInt8WithResiduals) {
    rows.residuals = nullptr;
    rows.unsigned_residuals = nullptr;
  }
  rows.cols = cols;
  rows.stride = stride;
  return rows;
}

QuantizedRows ProductInputs::Place(Form form, int rows, int cols, int stride) {
  DOPPLER_CHECK(Fits(form, rows, stride));
  const QuantizedRows place = InForm(form, ValuesFrom(call_scratch_, used_), cols, stride);
  used_ += RoomFor(form, rows, stride);
  return place;
}

void ProductInputs::Quantize(ConstRows in, const QuantizedRows& out) {
  ForEachRow(pool_, in.rows, in.cols, [&](int t) {
    if (out.halves != nullptr) {
      kernels_.to_halves(in.Row(t), t, out);
    } else {
      kernels_.quantize(in.Row(t), RowsFrom(out, t));
    }
  });
}

std::optional<ProductInput> ProductInputs::Prepare(DType weights, ConstRows in) {
  const Form form = FormFor(weights, phase_);
  if (form == Form::kFloats) return ProductInput{.floats = in, .quantized = {}};
  DOPPLER_CHECK(in.rows <= limits_.tokens && in.cols <= limits_.cols);
  if (const auto found = Find(form, in.data, in.rows)) return found;
  const int stride = StrideFor(form, in.cols);
  if (!Fits(form, in.rows, stride)) return std::nullopt;
  const QuantizedRows place = Place(form, in.rows, in.cols, stride);
  Quantize(in, place);
  return Enter(form, in.data, {in, place});
}

ProductInput ProductInputs::PrepareHeads(DType weights, ConstRows in, int in_step, int heads,
                                         int cols) {
  const Form form = FormFor(weights, Phase::kDecode);
  if (form == Form::kFloats) return {.floats = in, .quantized = {}};
  Begin();
  const QuantizedRows place = Place(form, heads * in.rows, cols, cols);
  ForEachRow(pool_, in.rows, heads * cols, [&](int t) {
    for (int head = 0; head < heads; ++head) {
      kernels_.quantize(in.Row(t) + head * in_step, RowsFrom(place, head * in.rows + t));
    }
  });
  return {in, place};
}

void ProductInputs::Keep(ConstRows in) {
  DOPPLER_CHECK(in.rows <= limits_.tokens && in.cols <= limits_.kept_cols);
  kept_in_ = in;
  kept_.cols = 0;
}

bool ProductInputs::AreAllKept(std::span<const int> rows) const {
  if (rows.size() != static_cast<std::size_t>(kept_in_.rows)) return false;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] != static_cast<int>(i)) return false;
  }
  return true;
}

// What an expert's gate and up read is copied once.
std::optional<ProductInput> ProductInputs::PrepareKept(DType weights, std::span<const int> rows) {
  DOPPLER_CHECK(rows.size() <= static_cast<std::size_t>(limits_.tokens));
  for (const int row : rows) DOPPLER_CHECK(row >= 0 && row < kept_in_.rows);
  const Form form = FormFor(weights, phase_);
  const auto count = static_cast<int>(rows.size());
  if (const auto found = Find(form, rows.data(), count)) return found;
  if (form == Form::kFloats) {
    const auto floats = GatherFloats(rows);
    if (!floats) return std::nullopt;
    return Enter(form, rows.data(), {.floats = *floats, .quantized = {}});
  }
  const int stride = StrideFor(form, kept_in_.cols);
  if (!Fits(form, count, stride) || !QuantizeKept(form)) return std::nullopt;
  ConstRows in = kept_in_;
  in.rows = count;
  if (AreAllKept(rows)) {
    kept_in_use_ = true;
    return Enter(form, rows.data(), {in, kept_});
  }
  const QuantizedRows place = Place(form, count, in.cols, stride);
  ForEachRow(pool_, count, in.cols,
             [&](int i) { CopyRow(kept_, rows[static_cast<std::size_t>(i)], place, i); });
  return Enter(form, rows.data(), {in, place});
}

// Nothing if there is no room beside those of the call.
std::optional<ConstRows> ProductInputs::GatherFloats(std::span<const int> rows) {
  const auto count = static_cast<int>(rows.size());
  if (chosen_rows_ + count > limits_.tokens || entries_.size() == kMaxEntries) return std::nullopt;
  float* const to = chosen_ + static_cast<std::ptrdiff_t>(chosen_rows_) * kept_in_.cols;
  const ConstRows in{to, count, kept_in_.cols, kept_in_.cols};
  ForEachRow(pool_, in.rows, in.cols, [&](int i) {
    std::copy_n(kept_in_.Row(rows[static_cast<std::size_t>(i)]), in.cols,
                to + static_cast<std::ptrdiff_t>(i) * in.cols);
  });
  chosen_rows_ += count;
  return in;
}

// False if products of the call read it in another form.
bool ProductInputs::QuantizeKept(Form form) {
  const QuantizedRows wanted =
      InForm(form, kept_scratch_, kept_in_.cols, StrideFor(form, kept_in_.cols));
  if (kept_.cols == wanted.cols && kept_.residuals == wanted.residuals &&
      kept_.halves == wanted.halves && kept_.half_residuals == wanted.half_residuals) {
    return true;
  }
  if (kept_in_use_) return false;
  kept_ = wanted;
  Quantize(kept_in_, kept_);
  return true;
}

}  // namespace doppler
