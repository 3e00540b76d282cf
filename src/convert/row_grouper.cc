#include "convert/row_grouper.h"

#include <algorithm>

#include "backend/row_groups.h"

namespace doppler {

RowGrouper::RowGrouper(DType dtype, std::int64_t cols,
                       FunctionRef<void(std::span<const std::byte>)> use)
    : dtype_(dtype),
      cols_(static_cast<int>(cols)),
      use_(use),
      begun_(kGroupRows * RowBytes(dtype, static_cast<std::uint64_t>(cols)).value()),
      group_(begun_.size()) {}

void RowGrouper::Add(std::span<const std::byte> rows) {
  while (!rows.empty()) {
    if (filled_ == 0 && rows.size() >= group_.size()) {
      UseGroup(rows.first(group_.size()));
      rows = rows.subspan(group_.size());
      continue;
    }
    const std::size_t count = std::min(rows.size(), begun_.size() - filled_);
    std::ranges::copy(rows.first(count), begun_.begin() + static_cast<std::ptrdiff_t>(filled_));
    rows = rows.subspan(count);
    filled_ += count;
    if (filled_ < begun_.size()) return;
    filled_ = 0;
    UseGroup(begun_);
  }
}

void RowGrouper::UseGroup(std::span<const std::byte> rows) {
  GroupRows(dtype_, cols_, rows, group_);
  use_(group_);
}

}  // namespace doppler
