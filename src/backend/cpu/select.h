// Which tables of kernels this build has and this processor can run. One folder per kind of
// processor implements it.
#pragma once

#include "backend/backend.h"
#include "backend/cpu/kernels.h"

namespace doppler {

bool CanRun(CpuPath path);
// REQUIRES: CanRun(path).
const CpuKernels& KernelsOf(CpuPath path);

// What suits this processor; one that is not known is taken for Zen 4.
FetchDistance FetchDistanceHere();

// The table's product with weights of a type.
MatMulKernel ProductOf(const CpuKernels& kernels, DType dtype);

}  // namespace doppler
