// Which matrices of a model can be stored in groups of sixteen rows (backend/row_groups.h).
#pragma once

#include "backend/dtype.h"
#include "backend/weight_layout.h"
#include "model/tensors.h"

namespace doppler {

// What artifacts are made in unless another is asked for.
inline constexpr WeightLayout kDefaultLayout = WeightLayout::kRows16;

// Whether the forward pass reads the matrix whole. It picks rows out of the token table and, in
// latent attention, the rows of one head out of the projections of keys and values.
bool IsReadWhole(const TensorSpec& spec);

// Row after row, or if groups are `wanted`, where it can be, in those that kernels read.
WeightLayout StoredLayout(const TensorSpec& spec, DType dtype, WeightLayout wanted);

}  // namespace doppler
