// Memory in which threads put groups of rows back into order, for kernels that read row after row
// or groups of another layout.
#pragma once

#include <atomic>
#include <vector>

#include "backend/row_groups.h"
#include "backend/weight_matrix.h"
#include "base/bytes.h"

namespace doppler {

class UngroupedRows {
 public:
  // For as many threads, and rows of at most `cols` values in any format that has groups.
  static Bytes BytesFor(int threads, int cols);
  void Reserve(int threads, int cols);

  // A thread's place. At most as many are in use at once as there are threads.
  class Place {
   public:
    explicit Place(UngroupedRows& all);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    // The sixteen rows from `row` on, a multiple of sixteen, row after row.
    // REQUIRES: the matrix is in groups and no wider than what was reserved.
    const std::byte* Read(const WeightMatrix& matrix, int row);

   private:
    UngroupedRows& all_;
    std::size_t index_ = 0;
  };

 private:
  std::vector<std::byte> memory_;
  std::vector<std::atomic<bool>> taken_;
};

}  // namespace doppler
