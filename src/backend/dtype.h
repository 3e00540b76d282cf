// The number formats that weights are stored in.
//
// Most quantised formats are ggml's: a row is cut into blocks of `block_elements` values that share
// scales, and a block takes `block_bytes` bytes. f8_e4m3 has its scales in a grid behind the rows.
// docs/format.md gives each layout.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/bytes.h"

namespace doppler {

// NOLINTBEGIN(readability-identifier-naming): ggml's names
enum class DType : std::uint8_t {
  kF32,
  kF16,
  kBf16,
  kQ8_0,
  kQ4_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2_K,
  kQ3_K,
  kIQ4_NL,
  kIQ4_XS,
  kIQ3_XXS,
  kIQ3_S,
  kIQ2_XXS,
  kIQ2_XS,
  kIQ2_S,
  kIQ1_S,
  kIQ1_M,
  kMxfp4,
  kF8E4M3,
  kInt4G32,
};
// NOLINTEND(readability-identifier-naming)

struct DTypeTraits {
  DType dtype;
  std::string_view name;  // as in manifests and on the command line
  int block_elements;
  int block_bytes;
};

inline constexpr std::array<DTypeTraits, 25> kDTypes = {{
    {DType::kF32, "f32", 1, 4},
    {DType::kF16, "f16", 1, 2},
    {DType::kBf16, "bf16", 1, 2},
    {DType::kQ8_0, "q8_0", 32, 34},
    {DType::kQ4_0, "q4_0", 32, 18},
    {DType::kQ4_K, "q4_k", 256, 144},
    {DType::kQ5_K, "q5_k", 256, 176},
    {DType::kQ6_K, "q6_k", 256, 210},
    {DType::kQ4_1, "q4_1", 32, 20},
    {DType::kQ5_0, "q5_0", 32, 22},
    {DType::kQ5_1, "q5_1", 32, 24},
    {DType::kQ2_K, "q2_k", 256, 84},
    {DType::kQ3_K, "q3_k", 256, 110},
    {DType::kIQ4_NL, "iq4_nl", 32, 18},
    {DType::kIQ4_XS, "iq4_xs", 256, 136},
    {DType::kIQ3_XXS, "iq3_xxs", 256, 98},
    {DType::kIQ3_S, "iq3_s", 256, 110},
    {DType::kIQ2_XXS, "iq2_xxs", 256, 66},
    {DType::kIQ2_XS, "iq2_xs", 256, 74},
    {DType::kIQ2_S, "iq2_s", 256, 82},
    {DType::kIQ1_S, "iq1_s", 256, 50},
    {DType::kIQ1_M, "iq1_m", 256, 56},
    {DType::kMxfp4, "mxfp4", 32, 17},
    {DType::kF8E4M3, "f8_e4m3", 1, 1},
    {DType::kInt4G32, "int4_g32", 32, 18},
}};

constexpr const DTypeTraits& Traits(DType dtype) {
  return kDTypes[static_cast<std::size_t>(dtype)];
}
constexpr std::string_view DTypeName(DType dtype) { return Traits(dtype).name; }
// A value by itself: f32, f16 or bf16.
constexpr bool IsFloat(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBf16;
}
// Whether a tensor's rows are followed by a grid of scales, without which they mean nothing.
constexpr bool HasScaleGrid(DType dtype) { return dtype == DType::kF8E4M3; }

constexpr std::optional<DType> DTypeFromName(std::string_view name) {
  for (const DTypeTraits& traits : kDTypes) {
    if (traits.name == name) return traits.dtype;
  }
  return std::nullopt;
}

// Values of a tensor. REQUIRES: no dimension is negative and the product fits.
constexpr std::uint64_t ElementCount(std::span<const std::int64_t> shape) {
  std::uint64_t elements = 1;
  for (const std::int64_t extent : shape) elements *= static_cast<std::uint64_t>(extent);
  return elements;
}

// Bytes of one row of `elements` values, without scales that stand elsewhere; nothing if the row is
// not a whole number of blocks or the size overflows.
constexpr std::optional<Bytes> RowBytes(DType dtype, std::uint64_t elements) {
  const DTypeTraits& traits = Traits(dtype);
  const auto block = static_cast<std::uint64_t>(traits.block_elements);
  if (elements % block != 0) return std::nullopt;
  return CheckedMul(elements / block, static_cast<std::uint64_t>(traits.block_bytes));
}

// A grid of scales has one float for each square of this many rows and columns of a matrix; squares
// at the right and lower edge may be partial.
inline constexpr int kGridBlock = 128;
constexpr std::uint64_t GridExtent(std::uint64_t values) {
  return values / kGridBlock + (values % kGridBlock != 0 ? 1 : 0);
}
// Where the grid of a matrix stands, from its first row, if its rows take `rows_bytes` in all.
constexpr Bytes GridOffset(Bytes rows_bytes) { return AlignUp(rows_bytes, sizeof(float)); }

// Bytes of a tensor in row layout, outermost dimension first; nothing if its shape does not fit the
// format or they overflow. A format with a grid holds matrices only.
// REQUIRES: no dimension is negative.
constexpr std::optional<Bytes> TensorBytes(DType dtype, std::span<const std::int64_t> shape) {
  if (shape.empty() || (HasScaleGrid(dtype) && shape.size() != 2)) return std::nullopt;
  std::optional<Bytes> size = RowBytes(dtype, static_cast<std::uint64_t>(shape.back()));
  for (const std::int64_t extent : shape.first(shape.size() - 1)) {
    if (size) size = CheckedMul(*size, static_cast<std::uint64_t>(extent));
  }
  if (!size || !HasScaleGrid(dtype)) return size;
  if (*size > ~Bytes{0} / 2) return std::nullopt;
  const auto rows = static_cast<std::uint64_t>(shape[0]);
  const auto cols = static_cast<std::uint64_t>(shape[1]);
  const auto scales = CheckedMul(GridExtent(rows), GridExtent(cols));
  const auto grid = scales ? CheckedMul(*scales, sizeof(float)) : std::nullopt;
  return grid ? CheckedAdd(GridOffset(*size), *grid) : std::nullopt;
}

}  // namespace doppler
