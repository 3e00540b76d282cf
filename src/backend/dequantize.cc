#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "backend/block_layout.h"
#include "backend/quantize.h"
#include "backend/row_groups.h"
#include "backend/sub_scales.h"
#include "backend/unpack.h"
#include "base/error.h"
#include "base/float16.h"
#include "base/float8.h"

namespace doppler {
namespace {

using Byte = std::uint8_t;

template <typename T>
T Load(const Byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

float LoadFp16(const Byte* from) { return Fp16ToFloat(Load<std::uint16_t>(from)); }

void DequantizeF32(const Byte* block, float* out) { *out = Load<float>(block); }
void DequantizeF16(const Byte* block, float* out) { *out = LoadFp16(block); }
void DequantizeBf16(const Byte* block, float* out) {
  *out = Bf16ToFloat(Load<std::uint16_t>(block));
}

void DequantizeQ80(const Byte* block, float* out) {
  const float scale = LoadFp16(block + Q80Layout::kScale);
  const Byte* values = block + Q80Layout::kValues;
  for (int i = 0; i < 32; ++i) {
    out[i] = scale * static_cast<float>(std::bit_cast<std::int8_t>(values[i]));
  }
}

void DequantizeQ40(const Byte* block, float* out) {
  const float scale = LoadFp16(block + Q40Layout::kScale);
  const Byte* nibbles = block + Q40Layout::kNibbles;
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>((nibbles[i] & 15) - 8);
    out[i + 16] = scale * static_cast<float>((nibbles[i] >> 4) - 8);
  }
}

// What q4_k and q5_k share: the high bits are all 0 with four bits per value. The inner loops have
// no branches, so that they become vector code.
template <bool kHasHighBits>
void DequantizeSubBlocks(const Byte* block, const Byte* sub_scales, const Byte* nibbles,
                         const Byte* high_bits, float* out) {
  const float scale = LoadFp16(block);
  const float minimum = LoadFp16(block + 2);
  const SubScales sub = UnpackSubScales(sub_scales);
  for (unsigned j = 0; j < 8; ++j) {
    const float sub_scale = scale * static_cast<float>(sub.scales[j]);
    const float sub_minimum = minimum * static_cast<float>(sub.minimums[j]);
    const Byte* run = nibbles + 32 * (j / 2);
    const int shift = j % 2 == 0 ? 0 : 4;
    for (int i = 0; i < 32; ++i) {
      int q = (run[i] >> shift) & 15;
      if constexpr (kHasHighBits) q |= ((high_bits[i] >> j) & 1) << 4;
      out[32 * j + static_cast<unsigned>(i)] = sub_scale * static_cast<float>(q) - sub_minimum;
    }
  }
}

void DequantizeQ4K(const Byte* block, float* out) {
  using L = Q4KLayout;
  DequantizeSubBlocks<false>(block, block + L::kSubScales, block + L::kNibbles, nullptr, out);
}

void DequantizeQ5K(const Byte* block, float* out) {
  using L = Q5KLayout;
  DequantizeSubBlocks<true>(block, block + L::kSubScales, block + L::kNibbles, block + L::kHighBits,
                            out);
}

void DequantizeQ6K(const Byte* block, float* out) {
  const float scale = LoadFp16(block + Q6KLayout::kScale);
  for (int run = 0; run < 16; ++run) {
    const auto sub_scale = std::bit_cast<std::int8_t>(block[Q6KLayout::kSubScales + run]);
    const float factor = scale * static_cast<float>(sub_scale);
    const int half = run / 8;
    const int quarter = run % 8 / 2;
    const int at = 16 * (run % 2);
    const Byte* nibbles = block + Q6KLayout::kNibbles + 64 * half + 32 * (quarter % 2) + at;
    const Byte* high_bits = block + Q6KLayout::kHighBits + 32 * half + at;
    const int shift = quarter < 2 ? 0 : 4;
    for (int i = 0; i < 16; ++i) {
      const int high = (high_bits[i] >> (2 * quarter)) & 3;
      const int q = (((nibbles[i] >> shift) & 15) | (high << 4)) - 32;
      out[16 * run + i] = factor * static_cast<float>(q);
    }
  }
}

// A block that is defined by what it unpacks to.
void DequantizeUnpacked(const Unpacker& unpacker, const Byte* block, float* out) {
  constexpr int kLargestBlock = 256;
  std::int8_t values[kLargestBlock];
  float scales[kLargestBlock / 16];
  float offsets[kLargestBlock / 16];
  unpacker.unpack(block, {values, scales, offsets});
  for (int i = 0; i < unpacker.block_elements; ++i) {
    out[i] = scales[i / 16] * static_cast<float>(values[i]);
  }
  // Adding a zero would turn -0 into 0.
  if (!unpacker.has_offsets) return;
  for (int i = 0; i < unpacker.block_elements; ++i) out[i] += offsets[i / 16];
}

using BlockFunction = void (*)(const Byte* block, float* out);

BlockFunction DequantizerOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return DequantizeF32;
    case DType::kF16:
      return DequantizeF16;
    case DType::kBf16:
      return DequantizeBf16;
    case DType::kQ8_0:
      return DequantizeQ80;
    case DType::kQ4_0:
      return DequantizeQ40;
    case DType::kQ4_K:
      return DequantizeQ4K;
    case DType::kQ5_K:
      return DequantizeQ5K;
    case DType::kQ6_K:
      return DequantizeQ6K;
    default:
      return nullptr;
  }
}

constexpr Bytes kLargestChunk = 34 * kGroupChunk / 32;  // of q8_0

// Of a row of a group, chunk after chunk.
void DequantizeGrouped(const WeightMatrix& matrix, std::size_t row, std::size_t begin,
                       std::span<float> out) {
  const Bytes group_bytes =
      kGroupRows * *RowBytes(matrix.dtype, static_cast<std::uint64_t>(matrix.cols));
  const std::span group(matrix.data + row / kGroupRows * group_bytes, group_bytes);
  std::array<std::byte, kLargestChunk> chunk;
  for (std::size_t done = 0; done < out.size();) {
    const std::size_t at = begin + done;
    const std::size_t count = std::min(out.size() - done, kGroupChunk - at % kGroupChunk);
    const auto blocks = std::span(chunk).first(*RowBytes(matrix.dtype, count));
    CopyBlocksOfRow(matrix.dtype, matrix.layout, matrix.cols, group,
                    static_cast<int>(row % kGroupRows), static_cast<int>(at),
                    static_cast<int>(count), blocks);
    Dequantize(matrix.dtype, blocks, out.subspan(done, count));
    done += count;
  }
}

}  // namespace

void Dequantize(DType dtype, std::span<const std::byte> blocks, std::span<float> out) {
  const DTypeTraits& traits = Traits(dtype);
  DOPPLER_CHECK(!HasScaleGrid(dtype) && RowBytes(dtype, out.size()) == blocks.size());
  const auto step = static_cast<std::size_t>(traits.block_elements);
  const Unpacker* const unpacker = UnpackerOf(dtype);
  const BlockFunction dequantize = DequantizerOf(dtype);
  const auto* block = reinterpret_cast<const Byte*>(blocks.data());
  for (std::size_t i = 0; i < out.size(); i += step) {
    if (unpacker != nullptr) {
      DequantizeUnpacked(*unpacker, block, out.data() + i);
    } else {
      dequantize(block, out.data() + i);
    }
    block += traits.block_bytes;
  }
}

void DequantizeColumns(const WeightMatrix& matrix, std::size_t row, std::size_t begin,
                       std::span<float> out) {
  const auto rows = static_cast<std::uint64_t>(matrix.rows);
  const auto cols = static_cast<std::uint64_t>(matrix.cols);
  DOPPLER_CHECK(row < rows && out.size() <= cols && begin <= cols - out.size());
  if (IsGrouped(matrix.layout)) return DequantizeGrouped(matrix, row, begin, out);
  const Bytes row_bytes = *RowBytes(matrix.dtype, cols);
  const std::byte* data = matrix.data + row * row_bytes + *RowBytes(matrix.dtype, begin);
  if (!HasScaleGrid(matrix.dtype)) {
    Dequantize(matrix.dtype, {data, *RowBytes(matrix.dtype, out.size())}, out);
    return;
  }
  const auto* grid = reinterpret_cast<const Byte*>(matrix.data + GridOffset(rows * row_bytes));
  grid += row / kGridBlock * GridExtent(cols) * sizeof(float);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto scale = Load<float>(grid + (begin + i) / kGridBlock * sizeof(float));
    out[i] = E4M3ToFloat(static_cast<Byte>(data[i])) * scale;
  }
}

}  // namespace doppler
