// Work on rows, of floats or of weights, cut into pieces for the threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "base/bytes.h"
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

// Calls body(head) for every head, in threads.
template <typename Body>
void ForEachHead(ThreadPool& pool, int heads, const Body& body) {
  pool.ParallelFor(static_cast<std::size_t>(heads), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t head = begin; head < end; ++head) body(static_cast<int>(head));
  });
}

// The most rows of weights that a kernel takes together.
constexpr int kRowsTogether = 32;

// Rows of one of several matrices that are multiplied in one go.
struct RowsOfWork {
  int rows = 0;
  std::size_t bytes_per_row = 0;  // read, or what costs as much
};

// Calls body(matrix, first row, last row) for pieces that cover all rows of all of them, each of a
// multiple of kRowsTogether rows but at the end of a matrix. A thread goes from one matrix to the
// next without waiting; at the end it waits for a piece at most, so that pieces are small.
template <typename Body>
void ForEachPiece(ThreadPool& pool, std::span<const RowsOfWork> matrices, const Body& body) {
  constexpr std::size_t kPiecesPerThread = 8;
  // A piece of less work than this costs more to hand out, and to begin to read, than to do.
  constexpr std::size_t kMinPieceBytes = 128 * kKiB;
  const auto units_of = [](const RowsOfWork& matrix) {
    return (static_cast<std::size_t>(matrix.rows) + kRowsTogether - 1) / kRowsTogether;
  };
  std::size_t units = 0;
  std::size_t bytes = 0;
  for (const RowsOfWork& matrix : matrices) {
    units += units_of(matrix);
    bytes += units_of(matrix) * kRowsTogether * matrix.bytes_per_row;
  }
  if (units == 0) return;
  const auto threads = static_cast<std::size_t>(pool.size());
  const std::size_t pieces =
      threads == 1 ? 1
                   : std::clamp<std::size_t>(bytes / kMinPieceBytes, 1, kPiecesPerThread * threads);
  pool.ParallelFor(units, (units + pieces - 1) / pieces, [&](std::size_t begin, std::size_t end) {
    std::size_t first = 0;  // unit of the matrix
    for (std::size_t i = 0; i < matrices.size() && first < end; ++i) {
      const std::size_t last = first + units_of(matrices[i]);
      if (last > begin) {
        const auto row = [&](std::size_t unit) {
          return std::min(matrices[i].rows, static_cast<int>(unit - first) * kRowsTogether);
        };
        body(i, row(std::max(begin, first)), row(std::min(end, last)));
      }
      first = last;
    }
  });
}

}  // namespace doppler
