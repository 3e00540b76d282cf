// Makes groups of sixteen rows (backend/row_groups.h) of a stream of rows.
#pragma once

#include <span>
#include <vector>

#include "backend/dtype.h"
#include "base/bytes.h"
#include "base/function_ref.h"

namespace doppler {

class RowGrouper {
 public:
  // Of rows of `cols` values. `use` gets the groups and outlives this.
  RowGrouper(DType dtype, std::int64_t cols, FunctionRef<void(std::span<const std::byte>)> use);

  // The bytes that follow those before, as many as there are. Uses all groups that are whole then.
  void Add(std::span<const std::byte> rows);

  // Whether all that was added has been used. REQUIRES of the caller: so at the end of a tensor.
  bool empty() const { return filled_ == 0; }

 private:
  void AddGroup(std::span<const std::byte> rows);
  void UseGroups();

  DType dtype_;
  int cols_;
  FunctionRef<void(std::span<const std::byte>)> use_;
  std::vector<std::byte> begun_;  // rows of a group that is not whole yet
  std::size_t filled_ = 0;        // bytes of it
  std::vector<std::byte> groups_;
  std::size_t made_ = 0;  // bytes of them that are still to be used
};

}  // namespace doppler
