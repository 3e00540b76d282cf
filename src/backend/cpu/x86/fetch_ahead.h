// Lines brought into a cache before they are read. Each file of kernels that includes this has
// functions of its own, as block_factors.h says.
#pragma once

#include "backend/cpu/block_factors.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

// Into which cache, as __builtin_prefetch counts.
constexpr int kFirstLevel = 3;
constexpr int kSecondLevel = 2;

// GCC 12 takes a call of a function that does no more than this for one without effect and leaves
// it out: such a function has to be inlined always, as this is.
template <int kLevel>
[[gnu::always_inline]] inline void FetchAhead(const Byte* from, int bytes) {
  for (int i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, kLevel);
}

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
