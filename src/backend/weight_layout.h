// The orders in which the rows of a matrix are stored.
#pragma once

#include <cstdint>

namespace doppler {

enum class WeightLayout : std::uint8_t {
  kRow,          // row after row
  kColumn,       // column after column
  kRows16,       // sixteen rows side by side: row_groups.h
  kRows16Steps,  // the same, what products read together one after the other
};

constexpr bool IsGrouped(WeightLayout layout) {
  return layout == WeightLayout::kRows16 || layout == WeightLayout::kRows16Steps;
}

}  // namespace doppler
