// Which format a tensor takes when a model's weights are quantised. `convert --quant` follows it,
// and `plan --quant` counts by it.
#pragma once

#include <optional>

#include "backend/dtype.h"
#include "model/tensors.h"

namespace doppler {

// Whether the tensor is one that quantisation is for: not a norm, a router or a bias.
bool IsWeightMatrix(const TensorSpec& spec);

// What `asked`, a block format, makes of a float tensor; nothing for one that keeps its format:
// no weight matrix, or rows that are not a multiple of 32. Experts and projections take `asked`,
// the token table and the output projection q6_k (q8_0 if that was asked), and rows that are not
// whole blocks of their format q8_0. In a model with experts mxfp4 is for these alone, and all
// other matrices take q8_0.
std::optional<DType> QuantizedFormat(const TensorSpec& spec, DType asked, bool has_experts);

}  // namespace doppler
