// The orders in which the rows of a matrix are stored.
#pragma once

#include <cstdint>

namespace doppler {

enum class WeightLayout : std::uint8_t {
  kRow,     // row after row
  kColumn,  // column after column
  kRows16,  // sixteen rows side by side: row_groups.h
};

}  // namespace doppler
