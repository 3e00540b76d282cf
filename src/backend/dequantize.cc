#include <array>
#include <bit>
#include <cstring>

#include "backend/block_layout.h"
#include "backend/quantize.h"
#include "backend/sub_scales.h"
#include "base/error.h"
#include "base/float16.h"

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

using BlockFunction = void (*)(const Byte* block, float* out);
constexpr std::array<BlockFunction, kDTypes.size()> kDequantize = {
    DequantizeF32, DequantizeF16, DequantizeBf16, DequantizeQ80,
    DequantizeQ40, DequantizeQ4K, DequantizeQ5K,  DequantizeQ6K};

}  // namespace

void Dequantize(DType dtype, std::span<const std::byte> blocks, std::span<float> out) {
  const DTypeTraits& traits = Traits(dtype);
  DOPPLER_CHECK(RowBytes(dtype, out.size()) == blocks.size());
  const auto step = static_cast<std::size_t>(traits.block_elements);
  const BlockFunction dequantize = kDequantize[static_cast<std::size_t>(dtype)];
  const auto* block = reinterpret_cast<const Byte*>(blocks.data());
  for (std::size_t i = 0; i < out.size(); i += step) {
    dequantize(block, out.data() + i);
    block += traits.block_bytes;
  }
}

}  // namespace doppler
