// The products of amx_int8.cc with tiles written as loops, for processors that have AVX-512 VNNI
// but no AMX. Only tests have them.
#pragma once

#include "backend/cpu/kernels.h"

namespace doppler {

// By DType; null where there are no tiles.
extern const MatMulKernel kEmulatedTileProducts[CpuKernels::kTypes];

}  // namespace doppler
