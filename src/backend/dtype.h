// The number formats that weights are stored in.
//
// Quantised formats are ggml's: a row is cut into blocks of `block_elements` values that share
// scales, and a block takes `block_bytes` bytes. docs/format.md gives each layout.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.h"

namespace doppler {

// NOLINTNEXTLINE(readability-identifier-naming): ggml's names
enum class DType : std::uint8_t { kF32, kF16, kBf16, kQ8_0, kQ4_0, kQ4_K, kQ5_K, kQ6_K };

struct DTypeTraits {
  DType dtype;
  std::string_view name;  // as in manifests and on the command line
  int block_elements;
  int block_bytes;
};

inline constexpr std::array<DTypeTraits, 8> kDTypes = {{
    {DType::kF32, "f32", 1, 4},
    {DType::kF16, "f16", 1, 2},
    {DType::kBf16, "bf16", 1, 2},
    {DType::kQ8_0, "q8_0", 32, 34},
    {DType::kQ4_0, "q4_0", 32, 18},
    {DType::kQ4_K, "q4_k", 256, 144},
    {DType::kQ5_K, "q5_k", 256, 176},
    {DType::kQ6_K, "q6_k", 256, 210},
}};

constexpr const DTypeTraits& Traits(DType dtype) {
  return kDTypes[static_cast<std::size_t>(dtype)];
}
constexpr std::string_view DTypeName(DType dtype) { return Traits(dtype).name; }
constexpr bool IsFloat(DType dtype) { return Traits(dtype).block_elements == 1; }

constexpr std::optional<DType> DTypeFromName(std::string_view name) {
  for (const DTypeTraits& traits : kDTypes) {
    if (traits.name == name) return traits.dtype;
  }
  return std::nullopt;
}

// Bytes of one row of `elements` values; nothing if the row is not a whole number of blocks or
// the size overflows.
constexpr std::optional<Bytes> RowBytes(DType dtype, std::uint64_t elements) {
  const DTypeTraits& traits = Traits(dtype);
  const auto block = static_cast<std::uint64_t>(traits.block_elements);
  if (elements % block != 0) return std::nullopt;
  return CheckedMul(elements / block, static_cast<std::uint64_t>(traits.block_bytes));
}

}  // namespace doppler
