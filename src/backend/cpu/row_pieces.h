// Work on rows of floats, cut into pieces for the threads.
#pragma once

#include <algorithm>
#include <cstddef>

#include "base/thread_pool.h"

namespace doppler {

// Calls body(row) for every row, in threads if there is enough to do.
template <typename Body>
void ForEachRow(ThreadPool& pool, int rows, int cols, const Body& body) {
  // A piece of less work than this costs more to hand out than to do.
  constexpr std::size_t kMinPieceFloats = 8192;
  const std::size_t grain =
      std::max<std::size_t>(1, kMinPieceFloats / static_cast<std::size_t>(std::max(cols, 1)));
  pool.ParallelFor(static_cast<std::size_t>(rows), grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) body(static_cast<int>(i));
  });
}

}  // namespace doppler
