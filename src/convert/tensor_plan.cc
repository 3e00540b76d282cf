#include "convert/tensor_plan.h"

#include <map>
#include <tuple>
#include <utility>

#include "backend/quantize.h"
#include "backend/row_groups.h"
#include "base/error.h"
#include "format/manifest.h"
#include "model/quantization.h"
#include "model/stored_layout.h"

namespace doppler {
namespace {

// q8_0 adds next to no error to what a smaller format will; any other block format would.
bool IsQuantizable(DType dtype) {
  return IsFloat(dtype) || HasScaleGrid(dtype) || dtype == DType::kQ8_0;
}

// Counts what deserves a note.
class Notes {
 public:
  explicit Notes(DType asked) : asked_(asked) {}

  void Add(const SourceTensor& source, DType out) {
    if (!IsWeightMatrix(source.spec)) return;
    const std::int64_t cols = source.spec.shape.back();
    if (!IsQuantizable(source.dtype) || (source.dtype == asked_ && out == asked_)) {
      ++kept_[source.dtype];
    } else if (out == asked_) {
      return;
    } else if (RowBytes(asked_, static_cast<std::uint64_t>(cols))) {
      ++tables_[out];
    } else {
      ++odd_rows_[{out, cols}];
    }
  }

  std::vector<std::string> Lines() const {
    std::vector<std::string> lines;
    for (const auto& [dtype, count] : kept_) {
      lines.push_back(
          fmt::format("{} tensors are {} already and stay as they are", count, DTypeName(dtype)));
    }
    for (const auto& [dtype, count] : tables_) {
      lines.push_back(fmt::format("{} tensors are {}: the token table and the output projection",
                                  count, DTypeName(dtype)));
    }
    for (const auto& [kind, count] : odd_rows_) {
      lines.push_back(fmt::format(
          "{} tensors are {}: their rows of {} values are not a multiple of {}'s blocks of {}",
          count, DTypeName(kind.first), kind.second, DTypeName(asked_),
          Traits(asked_).block_elements));
    }
    return lines;
  }

 private:
  DType asked_;
  std::map<DType, int> kept_;                               // by the format they have
  std::map<DType, int> tables_;                             // by the format they take
  std::map<std::pair<DType, std::int64_t>, int> odd_rows_;  // by format taken and row length
};

// Counts the weight matrices that stay row after row though groups of rows were asked for.
class LayoutNotes {
 public:
  void Add(const OutputTensor& out) {
    const TensorSpec& spec = out.source->spec;
    if (!IsWeightMatrix(spec) || IsGrouped(out.layout)) return;
    if (!CanGroupRows(out.dtype, kGroupRows)) {
      ++formats_[out.dtype];
    } else {
      ++(IsReadWhole(spec) ? odd_ : picked_);
    }
  }

  std::vector<std::string> Lines() const {
    std::vector<std::string> lines;
    for (const auto& [dtype, count] : formats_) {
      lines.push_back(fmt::format("{} tensors stay row after row: {} has no groups of rows", count,
                                  DTypeName(dtype)));
    }
    if (odd_ > 0) {
      lines.push_back(fmt::format(
          "{} tensors stay row after row: their rows are not a multiple of {}", odd_, kGroupRows));
    }
    if (picked_ > 0) {
      lines.push_back(fmt::format(
          "{} tensors stay row after row: a token needs only some of their rows", picked_));
    }
    return lines;
  }

 private:
  std::map<DType, int> formats_;  // without groups
  int odd_ = 0;
  int picked_ = 0;
};

void RequireWritable(DType quantize) {
  if (!IsFloat(quantize) && CanQuantize(quantize)) return;
  throw UsageError(
      fmt::format("weights cannot be quantised to '{}'; choose a format that 'doppler convert "
                  "--help' lists",
                  DTypeName(quantize)));
}

}  // namespace

TensorPlan PlanTensors(const Checkpoint& checkpoint, std::optional<DType> quantize,
                       std::optional<WeightLayout> layout) {
  if (quantize) RequireWritable(*quantize);
  TensorPlan plan;
  std::optional<Notes> notes;
  if (quantize) notes.emplace(*quantize);
  LayoutNotes layout_notes;
  for (const SourceTensor& source : checkpoint.tensors) {
    OutputTensor out = {.source = &source, .dtype = source.dtype, .size = source.size};
    if (quantize && IsQuantizable(source.dtype)) {
      if (const auto dtype =
              QuantizedFormat(source.spec, *quantize, checkpoint.config.num_experts > 0)) {
        out.dtype = *dtype;
        out.size = TensorBytes(*dtype, source.spec.shape).value();
      }
    }
    out.layout = StoredLayout(source.spec, out.dtype, layout.value_or(kDefaultLayout));
    if (notes) notes->Add(source, out.dtype);
    if (layout == WeightLayout::kRows16) layout_notes.Add(out);
    plan.tensors.push_back(out);
  }
  if (notes) plan.notes = notes->Lines();
  for (std::string& line : layout_notes.Lines()) plan.notes.push_back(std::move(line));
  return plan;
}

}  // namespace doppler
