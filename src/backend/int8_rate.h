// The most products of int8 that a path's instructions can do: loops of nothing else, for
// backend_bench.
#pragma once

#include "backend/backend.h"

namespace doppler {

struct Int8Kernel {
  // Does so many rounds; what comes back only keeps them from being left out.
  int (*run)(int rounds) = nullptr;
  int products_per_round = 0;
};

// What the compiler makes of a plain loop, for paths without instructions of their own.
Int8Kernel CompiledInt8Products();
// The path of AMX has those of AVX-512 VNNI, which its tiles exceed.
// REQUIRES: the processor can run `path`.
Int8Kernel Int8Products(CpuPath path);

}  // namespace doppler
