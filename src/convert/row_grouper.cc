#include "convert/row_grouper.h"

#include <algorithm>

#include "backend/row_groups.h"

namespace doppler {
namespace {

// Hashing is several times as fast over many leaves at once as over the few that a group has.
constexpr Bytes kGroupsAtOnce = 4 * kMiB;

}  // namespace

RowGrouper::RowGrouper(DType dtype, std::int64_t cols,
                       FunctionRef<void(std::span<const std::byte>)> use)
    : dtype_(dtype),
      cols_(static_cast<int>(cols)),
      use_(use),
      begun_(kGroupRows * RowBytes(dtype, static_cast<std::uint64_t>(cols)).value()),
      groups_(std::max<std::size_t>(kGroupsAtOnce / begun_.size(), 1) * begun_.size()) {}

void RowGrouper::Add(std::span<const std::byte> rows) {
  while (!rows.empty()) {
    if (filled_ == 0 && rows.size() >= begun_.size()) {
      AddGroup(rows.first(begun_.size()));
      rows = rows.subspan(begun_.size());
      continue;
    }
    const std::size_t count = std::min(rows.size(), begun_.size() - filled_);
    std::ranges::copy(rows.first(count), begun_.begin() + static_cast<std::ptrdiff_t>(filled_));
    rows = rows.subspan(count);
    filled_ += count;
    if (filled_ < begun_.size()) break;
    filled_ = 0;
    AddGroup(begun_);
  }
  UseGroups();
}

void RowGrouper::AddGroup(std::span<const std::byte> rows) {
  GroupRows(dtype_, GroupLayoutOf(dtype_), cols_, rows,
            std::span(groups_).subspan(made_, rows.size()));
  made_ += rows.size();
  if (made_ == groups_.size()) UseGroups();
}

void RowGrouper::UseGroups() {
  if (made_ > 0) use_(std::span(groups_).first(made_));
  made_ = 0;
}

}  // namespace doppler
