// The products of amx_int8.cc and amx_bf16.cc with tiles and f16 written as loops, for processors
// that have AVX-512 VNNI but no AMX. Only tests have them.
#pragma once

#include "backend/cpu/kernels.h"

namespace doppler {

// By DType; null where there are no tiles.
extern const MatMulKernels kEmulatedTileProducts;
extern const MatMulKernels kEmulatedHalfTileProducts;
// As CpuKernels::to_halves.
void EmulatedToHalves(const float* in, int row, const QuantizedRows& out);

}  // namespace doppler
