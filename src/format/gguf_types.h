// ggml's table of number formats. Doppler computes with some; of the others it knows the size, so
// that a file can be checked, and the name, so that it can say what it cannot do.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "backend/dtype.h"

namespace doppler {

struct GgmlType {
  std::uint32_t number;
  std::string_view name;
  std::uint64_t block_elements;
  std::uint64_t block_bytes;
  std::optional<DType> dtype;
};

// Null if there is no such format.
const GgmlType* FindGgmlType(std::uint32_t number);

}  // namespace doppler
