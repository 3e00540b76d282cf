// Which format and layout each tensor of a checkpoint is written in.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backend/dtype.h"
#include "backend/weight_layout.h"
#include "convert/checkpoint.h"

namespace doppler {

struct OutputTensor {
  const SourceTensor* source = nullptr;
  DType dtype = DType::kF32;  // the source's, or that of the quantisation
  Bytes size = 0;
  WeightLayout layout = WeightLayout::kRow;
};

struct TensorPlan {
  std::vector<OutputTensor> tensors;  // in the checkpoint's order
  std::vector<std::string> notes;     // what did not take the format that was asked for
};

// Weights in a float format, in f8_e4m3 or in q8_0 take the format that QuantizedFormat gives;
// those in other block formats, and all else, keep their bytes. Throws UsageError for a format that
// cannot be written. Matrices are stored in `layout` as far as StoredLayout lets them; without one
// in kDefaultLayout, and no notes are made of those that are not. `checkpoint` must outlive the
// plan.
TensorPlan PlanTensors(const Checkpoint& checkpoint, std::optional<DType> quantize,
                       std::optional<WeightLayout> layout);

}  // namespace doppler
