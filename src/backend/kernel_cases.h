// What the tests and benchmarks of kernels share: the cases, and data to run them on.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <new>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "backend/backend.h"
#include "backend/block_layout.h"
#include "backend/cpu/select.h"
#include "backend/row_groups.h"
#include "base/float16.h"

namespace doppler {

template <typename Int>
std::vector<float> GaussianValues(Int count, unsigned seed, float deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& value : out) value = normal(random);
  return out;
}

// The phase that tests and benchmarks run a path in: one that has products of its own for prompts
// decodes as the path before it does.
inline Phase PhaseOf(CpuPath path) {
  return KernelsOf(path).to_halves != nullptr ? Phase::kPrompt : Phase::kDecode;
}

inline std::unique_ptr<Backend> BackendOf(ThreadPool& pool, CpuPath path) {
  auto backend = MakeCpuBackend(pool, path);
  backend->Begin(PhaseOf(path));
  return backend;
}

// How much a product may be off because weights become bf16, in parts of its size.
inline double RoundingToHalves(DType type) { return type == DType::kMxfp4 ? 0 : 0x1p-8; }
inline double RoundingOfWeights(CpuPath path, DType type) {
  const MatMulKernels* products = KernelsOf(path).prompt_matmul;
  const bool rounds =
      products != nullptr && products->of[static_cast<std::size_t>(type)] != nullptr;
  return rounds ? RoundingToHalves(type) : 0;
}

// Offsets of the f16 factors in a block.
inline std::vector<int> FactorOffsets(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0:
      return {Q80Layout::kScale};
    case DType::kQ4_0:
      return {Q40Layout::kScale};
    case DType::kQ4_K:
      return {Q4KLayout::kScale, Q4KLayout::kMinimum};
    case DType::kQ5_K:
      return {Q5KLayout::kScale, Q5KLayout::kMinimum};
    case DType::kQ6_K:
      return {Q6KLayout::kScale};
    case DType::kQ4_1:
      return {Q41Layout::kScale, Q41Layout::kMinimum};
    case DType::kQ5_1:
      return {Q51Layout::kScale, Q51Layout::kMinimum};
    case DType::kQ2_K:
      return {Q2KLayout::kScale, Q2KLayout::kMinimum};
    case DType::kQ3_K:
      return {Q3KLayout::kScale};
    case DType::kQ5_0:
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
    case DType::kIQ3_XXS:
    case DType::kIQ3_S:
    case DType::kIQ2_XXS:
    case DType::kIQ2_XS:
    case DType::kIQ2_S:
    case DType::kIQ1_S:
      return {0};
    default:
      return {};
  }
}

// A matrix that owns exactly its bytes, so that AddressSanitizer sees a read past the end.
// Memory that begins where the engine's weights do.
template <typename T>
struct WeightAllocator {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{64};
  static T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), kAlignment));
  }
  static void deallocate(T* from, std::size_t) { ::operator delete(from, kAlignment); }
  bool operator==(const WeightAllocator&) const = default;
};

struct OwnedMatrix {
  std::vector<std::byte, WeightAllocator<std::byte>> bytes;
  WeightMatrix view;
};

// Scales that are not f16 and of which random bits would be out of proportion.
inline void SetOddScales(DType dtype, std::mt19937& random, std::span<std::byte> bytes) {
  const auto step = static_cast<std::size_t>(Traits(dtype).block_bytes);
  std::uniform_real_distribution<float> factor(-0.02f, 0.02f);
  for (std::size_t block = 0; block < bytes.size(); block += step) {
    if (dtype == DType::kMxfp4) {
      // The first ones are further apart than paths that share exponents among runs have them.
      const unsigned apart = block / step < 512 ? 8 : 3;
      bytes[block] = static_cast<std::byte>(120 + random() % apart);
    } else if (dtype == DType::kInt4G32) {
      const std::uint16_t bits = FloatToBf16(factor(random));
      std::memcpy(bytes.data() + block, &bits, sizeof(bits));
    } else if (dtype == DType::kIQ1_M) {
      // The scale's upper nibble, with its exponent, is that of the last word.
      const auto at = block + Iq1MLayout::kSubScales + 7;
      bytes[at] = (bytes[at] & std::byte{0x0f}) | std::byte{0x20};
    }
  }
}

// What a path, and a type on it, are called in the names of tests.
inline std::string NameInTest(CpuPath path) {
  std::string name(CpuPathName(path));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
inline std::string NameInTest(const std::tuple<CpuPath, DType>& of) {
  return NameInTest(std::get<0>(of)) + "_" + std::string(DTypeName(std::get<1>(of)));
}

// Blocks of random bits, every pattern of which means something, with sane factors.
inline OwnedMatrix RandomMatrix(DType dtype, int rows, int cols, unsigned seed) {
  OwnedMatrix out;
  const auto elements = static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(cols);
  out.bytes.resize(*TensorBytes(dtype, std::array<std::int64_t, 2>{rows, cols}));
  std::mt19937 random(seed);
  if (IsFloat(dtype)) {
    const std::vector<float> values = GaussianValues(elements, seed);
    const std::size_t size = static_cast<std::size_t>(Traits(dtype).block_bytes);
    for (std::size_t i = 0; i < elements; ++i) {
      const auto f16 = FloatToFp16(values[i]);
      const auto bf16 = FloatToBf16(values[i]);
      const void* from = dtype == DType::kF16    ? static_cast<const void*>(&f16)
                         : dtype == DType::kBf16 ? static_cast<const void*>(&bf16)
                                                 : &values[i];
      std::memcpy(out.bytes.data() + i * size, from, size);
    }
  } else {
    for (std::byte& byte : out.bytes) byte = static_cast<std::byte>(random() & 255u);
    const auto step = static_cast<std::size_t>(Traits(dtype).block_bytes);
    std::uniform_real_distribution<float> factor(-0.02f, 0.02f);
    if (HasScaleGrid(dtype)) {
      for (std::size_t i = 0; i < elements; ++i) {
        if ((out.bytes[i] & std::byte{0x7f}) == std::byte{0x7f}) out.bytes[i] = std::byte{0x7e};
      }
      for (std::size_t at = GridOffset(elements); at < out.bytes.size(); at += sizeof(float)) {
        const float scale = factor(random);
        std::memcpy(out.bytes.data() + at, &scale, sizeof(scale));
      }
    }
    SetOddScales(dtype, random, out.bytes);
    for (std::size_t block = 0; block < out.bytes.size(); block += step) {
      for (const int offset : FactorOffsets(dtype)) {
        const std::uint16_t bits = FloatToFp16(factor(random));
        std::memcpy(out.bytes.data() + block + offset, &bits, sizeof(bits));
      }
    }
  }
  out.view = {.data = out.bytes.data(), .dtype = dtype, .rows = rows, .cols = cols};
  return out;
}

// Rows in memory of their own. `gap` floats stand between rows, but none after the last.
class OwnedRows {
 public:
  OwnedRows(int rows, int cols, int gap = 0)
      : rows_(rows),
        cols_(cols),
        stride_(cols + gap),
        data_(static_cast<std::size_t>(rows) * static_cast<std::size_t>(stride_) -
              static_cast<std::size_t>(gap)) {}
  OwnedRows(int rows, int cols, std::span<const float> values, int gap = 0)
      : OwnedRows(rows, cols, gap) {
    std::size_t index = 0;
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < cols; ++c) {
        view().Row(r)[c] = values[index++];
      }
    }
  }

  Rows view() { return {data_.data(), rows_, cols_, stride_}; }
  // Rows [begin, begin + count).
  Rows Slice(int begin, int count) { return {view().Row(begin), count, cols_, stride_}; }

  std::vector<std::uint32_t> Bits() const {
    std::vector<std::uint32_t> out;
    for (const float value : data_) out.push_back(std::bit_cast<std::uint32_t>(value));
    return out;
  }

 private:
  int rows_;
  int cols_;
  int stride_;
  std::vector<float> data_;
};

// What values of most block types are largest with, of either sign.
inline constexpr int kExtremeBytes[] = {0x00, 0x77, 0x7f, 0x80, 0xff};

// Every byte of the blocks, but that factors at either end stay.
inline void FillValues(int byte, OwnedMatrix& matrix) {
  const auto block = static_cast<std::size_t>(Traits(matrix.view.dtype).block_bytes);
  for (std::size_t at = 0; at < matrix.bytes.size(); ++at) {
    const std::size_t in_block = at % block;
    if (in_block >= 4 && in_block < block - 2) matrix.bytes[at] = static_cast<std::byte>(byte);
  }
}

// The matrix in groups of sixteen rows. REQUIRES: CanGroupRows.
inline OwnedMatrix InGroups(const WeightMatrix& rows, WeightLayout layout) {
  OwnedMatrix out;
  const std::size_t bytes =
      kGroupRows * *RowBytes(rows.dtype, static_cast<std::uint64_t>(rows.cols));
  const std::size_t groups = static_cast<std::size_t>(rows.rows) / kGroupRows;
  out.bytes.resize(groups * bytes);
  for (std::size_t i = 0; i < groups; ++i) {
    GroupRows(rows.dtype, layout, rows.cols, {rows.data + i * bytes, bytes},
              std::span(out.bytes).subspan(i * bytes, bytes));
  }
  out.view = rows;
  out.view.data = out.bytes.data();
  out.view.layout = layout;
  return out;
}
inline OwnedMatrix InGroups(const WeightMatrix& rows) {
  return InGroups(rows, GroupLayoutOf(rows.dtype));
}

// Those that groups of the format may have.
inline std::vector<WeightLayout> GroupLayouts(DType dtype) {
  std::vector<WeightLayout> out;
  for (const WeightLayout layout : {WeightLayout::kRows16, WeightLayout::kRows16Steps}) {
    if (CanGroupRows(dtype, kGroupRows, layout)) out.push_back(layout);
  }
  return out;
}

inline std::vector<DType> GroupedTypes() {
  std::vector<DType> out;
  for (const DTypeTraits& traits : kDTypes) {
    if (CanGroupRows(traits.dtype, kGroupRows)) out.push_back(traits.dtype);
  }
  return out;
}

// The products of a whole matrix by a kernel of quantised weights.
inline OwnedRows RunKernel(MatMulKernel kernel, const WeightMatrix& weights, const QuantizedRows& x,
                           int tokens, FetchDistance distance = {}) {
  OwnedRows out(tokens, weights.rows, 3);
  kernel({.weights = reinterpret_cast<const unsigned char*>(weights.data),
          .row_bytes = *RowBytes(weights.dtype, static_cast<std::uint64_t>(weights.cols)),
          .grouped = IsGrouped(weights.layout),
          .fetch_distance = distance,
          .rows = weights.rows,
          .cols = weights.cols,
          .tokens = tokens,
          .quantized = x,
          .out = out.view().data,
          .out_stride = out.view().stride});
  return out;
}

}  // namespace doppler
