#include "backend/cpu/select.h"

#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "base/error.h"

namespace doppler {

namespace {

// Dot products, and what version 8.1, for which the kernels are built too, added.
bool HasDotProducts() {
  constexpr unsigned long kWanted = HWCAP_ASIMDDP | HWCAP_ATOMICS | HWCAP_ASIMDRDM;
  return (getauxval(AT_HWCAP) & kWanted) == kWanted;
}

}  // namespace

bool CanRun(CpuPath path) {
  switch (path) {
    case CpuPath::kPortable:
      return true;
    case CpuPath::kNeonDot:
      return HasDotProducts();
    default:
      return false;
  }
}

const CpuKernels& KernelsOf(CpuPath path) {
  DOPPLER_CHECK(CanRun(path));
  return path == CpuPath::kNeonDot ? kNeonDotKernels : kPortableKernels;
}

FetchDistance FetchDistanceHere() { return {}; }

}  // namespace doppler
