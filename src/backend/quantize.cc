#include "backend/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/block_layout.h"
#include "backend/quantize_search.h"
#include "base/error.h"
#include "base/float16.h"

namespace doppler {
namespace {

using Byte = std::uint8_t;

void StoreUint16(std::uint16_t value, Byte* to) { std::memcpy(to, &value, sizeof(value)); }

void QuantizeF32(const float* values, Byte* block) { std::memcpy(block, values, sizeof(float)); }
void QuantizeF16(const float* values, Byte* block) { StoreUint16(FloatToFp16(*values), block); }
void QuantizeBf16(const float* values, Byte* block) { StoreUint16(FloatToBf16(*values), block); }

// The quotients use the scale before it is rounded to f16, and round half away from zero: so does
// ggml, and the bytes agree.
void QuantizeQ80(const float* values, Byte* block) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::abs(values[i]));
  const float scale = largest / 127.0f;
  const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
  StoreUint16(FloatToFp16(scale), block + Q80Layout::kScale);
  for (int i = 0; i < 32; ++i) {
    const float q = std::clamp(std::round(values[i] * inverse), -127.0f, 127.0f);
    block[Q80Layout::kValues + i] = static_cast<Byte>(static_cast<int>(q));
  }
}

// A search with the signature of the others.
template <std::size_t kCount, void (*kSearch)(std::span<const float, kCount>, Byte*)>
void Searched(const float* values, Byte* block) {
  kSearch(std::span<const float, kCount>(values, kCount), block);
}

using BlockFunction = void (*)(const float* values, Byte* block);

BlockFunction QuantizerOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return QuantizeF32;
    case DType::kF16:
      return QuantizeF16;
    case DType::kBf16:
      return QuantizeBf16;
    case DType::kQ8_0:
      return QuantizeQ80;
    case DType::kQ4_0:
      return Searched<32, QuantizeQ40>;
    case DType::kQ4_K:
      return Searched<256, QuantizeQ4K>;
    case DType::kQ5_K:
      return Searched<256, QuantizeQ5K>;
    case DType::kQ6_K:
      return Searched<256, QuantizeQ6K>;
    case DType::kMxfp4:
      return Searched<32, QuantizeMxfp4>;
    default:
      return nullptr;
  }
}

}  // namespace

bool CanQuantize(DType dtype) { return QuantizerOf(dtype) != nullptr; }

void Quantize(DType dtype, std::span<const float> values, std::span<std::byte> blocks) {
  const BlockFunction quantize = QuantizerOf(dtype);
  DOPPLER_CHECK(quantize != nullptr);
  DOPPLER_CHECK(RowBytes(dtype, values.size()) == blocks.size());
  const DTypeTraits& traits = Traits(dtype);
  const auto step = static_cast<std::size_t>(traits.block_elements);
  auto* block = reinterpret_cast<Byte*>(blocks.data());
  for (std::size_t i = 0; i < values.size(); i += step) {
    quantize(values.data() + i, block);
    block += traits.block_bytes;
  }
}

}  // namespace doppler
