#include "convert/tensor_plan.h"

#include <map>
#include <tuple>
#include <utility>

#include "backend/quantize.h"
#include "base/error.h"
#include "format/manifest.h"
#include "model/quantization.h"

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

void RequireWritable(DType quantize) {
  if (!IsFloat(quantize) && CanQuantize(quantize)) return;
  throw UsageError(
      fmt::format("weights cannot be quantised to '{}'; choose a format that 'doppler convert "
                  "--help' lists",
                  DTypeName(quantize)));
}

}  // namespace

TensorPlan PlanTensors(const Checkpoint& checkpoint, std::optional<DType> quantize) {
  if (quantize) RequireWritable(*quantize);
  TensorPlan plan;
  std::optional<Notes> notes;
  if (quantize) notes.emplace(*quantize);
  for (const SourceTensor& source : checkpoint.tensors) {
    OutputTensor out = {.source = &source, .dtype = source.dtype, .size = source.size};
    if (quantize && IsQuantizable(source.dtype)) {
      if (const auto dtype =
              QuantizedFormat(source.spec, *quantize, checkpoint.config.num_experts > 0)) {
        out.dtype = *dtype;
        out.size = TensorBytes(*dtype, source.spec.shape).value();
      }
    }
    if (notes) notes->Add(source, out.dtype);
    plan.tensors.push_back(out);
  }
  if (notes) plan.notes = notes->Lines();
  return plan;
}

}  // namespace doppler
