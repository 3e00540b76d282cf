// A projection's weights in memory.
#pragma once

#include <cstddef>

#include "backend/dtype.h"
#include "backend/weight_layout.h"

namespace doppler {

// `rows` output values, each the dot product with `cols` inputs.
struct WeightMatrix {
  // [rows, cols], row after row, each RowBytes(dtype, cols), or in groups of sixteen rows; then the
  // grid of scales of a format that has one. TensorBytes in all.
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  int rows = 0;
  int cols = 0;
  WeightLayout layout = WeightLayout::kRow;  // not kColumn
};

}  // namespace doppler
