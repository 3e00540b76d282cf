#include "backend/cpu/select.h"

#include "base/error.h"

namespace doppler {

bool CanRun(CpuPath path) { return path == CpuPath::kPortable; }

const CpuKernels& KernelsOf(CpuPath path) {
  DOPPLER_CHECK(CanRun(path));
  return kPortableKernels;
}

FetchDistance FetchDistanceHere() { return {}; }

}  // namespace doppler
