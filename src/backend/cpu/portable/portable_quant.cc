// Integer dot products in plain loops that a compiler turns into vector code.
//
// A stretch of a row is unpacked once into int8 with a scale per 16 values, and then multiplied
// with every token.

#include "backend/block_layout.h"
#include "backend/cpu/quant_matmul.h"
#include "backend/sub_scales.h"
#include "base/float16.h"

namespace doppler {
namespace {

using Byte = std::uint8_t;

constexpr int kStretch = 256;  // values; the last of a row may be shorter
constexpr int kRun = 16;       // values that share a scale in every format

struct Stretch {
  std::int8_t values[kStretch];
  float scales[kStretch / kRun];
  float minimums[kStretch / kRun];  // subtracted; unused where kHasMinimums is false
};

float LoadFp16(const Byte* from) {
  std::uint16_t bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  return Fp16ToFloat(bits);
}

struct Q8_0 {
  static constexpr int kElements = 32;
  static constexpr int kBytes = Q8_0Layout::kBytes;
  static constexpr bool kHasMinimums = false;

  static void Unpack(const Byte* block, int at, Stretch& out) {
    out.scales[at / kRun] = out.scales[at / kRun + 1] = LoadFp16(block + Q8_0Layout::kScale);
    __builtin_memcpy(out.values + at, block + Q8_0Layout::kValues, 32);
  }
};

struct Q4_0 {
  static constexpr int kElements = 32;
  static constexpr int kBytes = Q4_0Layout::kBytes;
  static constexpr bool kHasMinimums = false;

  static void Unpack(const Byte* block, int at, Stretch& out) {
    out.scales[at / kRun] = out.scales[at / kRun + 1] = LoadFp16(block + Q4_0Layout::kScale);
    const Byte* nibbles = block + Q4_0Layout::kNibbles;
    for (int i = 0; i < 16; ++i) {
      out.values[at + i] = static_cast<std::int8_t>((nibbles[i] & 15) - 8);
      out.values[at + 16 + i] = static_cast<std::int8_t>((nibbles[i] >> 4) - 8);
    }
  }
};

void UnpackScales(const Byte* block, const Byte* packed, Stretch& out) {
  const float scale = LoadFp16(block);
  const float minimum = LoadFp16(block + 2);
  const SubScales sub = UnpackSubScales(packed);
  for (unsigned run = 0; run < 16; ++run) {
    out.scales[run] = scale * static_cast<float>(sub.scales[run / 2]);
    out.minimums[run] = minimum * static_cast<float>(sub.minimums[run / 2]);
  }
}

void UnpackNibbles(const Byte* nibbles, std::int8_t* out) {
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < 32; ++i) {
      out[64 * j + i] = static_cast<std::int8_t>(nibbles[32 * j + i] & 15);
      out[64 * j + 32 + i] = static_cast<std::int8_t>(nibbles[32 * j + i] >> 4);
    }
  }
}

struct Q4_K {
  static constexpr int kElements = 256;
  static constexpr int kBytes = Q4_KLayout::kBytes;
  static constexpr bool kHasMinimums = true;

  static void Unpack(const Byte* block, int, Stretch& out) {
    UnpackScales(block, block + Q4_KLayout::kSubScales, out);
    UnpackNibbles(block + Q4_KLayout::kNibbles, out.values);
  }
};

struct Q5_K {
  static constexpr int kElements = 256;
  static constexpr int kBytes = Q5_KLayout::kBytes;
  static constexpr bool kHasMinimums = true;

  static void Unpack(const Byte* block, int, Stretch& out) {
    UnpackScales(block, block + Q5_KLayout::kSubScales, out);
    UnpackNibbles(block + Q5_KLayout::kNibbles, out.values);
    const Byte* high_bits = block + Q5_KLayout::kHighBits;
    for (int j = 0; j < 8; ++j) {
      for (int i = 0; i < 32; ++i) {
        const int high = (high_bits[i] >> j) & 1;
        out.values[32 * j + i] = static_cast<std::int8_t>(out.values[32 * j + i] + 16 * high);
      }
    }
  }
};

struct Q6_K {
  static constexpr int kElements = 256;
  static constexpr int kBytes = Q6_KLayout::kBytes;
  static constexpr bool kHasMinimums = false;

  static void Unpack(const Byte* block, int, Stretch& out) {
    const float scale = LoadFp16(block + Q6_KLayout::kScale);
    const Byte* sub_scales = block + Q6_KLayout::kSubScales;
    for (int run = 0; run < 16; ++run) {
      out.scales[run] = scale * static_cast<float>(static_cast<std::int8_t>(sub_scales[run]));
    }
    for (int half = 0; half < 2; ++half) {
      const Byte* nibbles = block + Q6_KLayout::kNibbles + 64 * half;
      const Byte* high_bits = block + Q6_KLayout::kHighBits + 32 * half;
      std::int8_t* values = out.values + 128 * half;
      for (int quarter = 0; quarter < 4; ++quarter) {
        const Byte* run = nibbles + 32 * (quarter % 2);
        for (int i = 0; i < 32; ++i) {
          const int low = (run[i] >> (quarter < 2 ? 0 : 4)) & 15;
          const int high = (high_bits[i] >> (2 * quarter)) & 3;
          values[32 * quarter + i] = static_cast<std::int8_t>((low | (high << 4)) - 32);
        }
      }
    }
  }
};

float DotStretch(const Stretch& w, int size, const std::int8_t* values, const float* scales) {
  float sum = 0;
  for (int begin = 0; begin < size; begin += kRun) {
    std::int32_t dot = 0;
    for (int i = 0; i < kRun; ++i) {
      dot += static_cast<std::int32_t>(w.values[begin + i]) * values[begin + i];
    }
    sum += w.scales[begin / kRun] * scales[begin / 32] * static_cast<float>(dot);
  }
  return sum;
}

float DotMinimums(const Stretch& w, int size, const float* sums16) {
  float sum = 0;
  for (int run = 0; run < size / kRun; ++run) sum += w.minimums[run] * sums16[run];
  return sum;
}

template <class Format>
void MatMul(const MatMulTile& tile) {
  for (int row = 0; row < tile.rows; ++row) {
    const Byte* block = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    for (int t = 0; t < tile.tokens; ++t) tile.out[t * tile.out_stride + row] = 0;
    for (int begin = 0; begin < tile.cols; begin += kStretch) {
      const int size = tile.cols - begin < kStretch ? tile.cols - begin : kStretch;
      Stretch stretch;
      for (int at = 0; at < size; at += Format::kElements) {
        Format::Unpack(block, at, stretch);
        block += Format::kBytes;
      }
      for (int t = 0; t < tile.tokens; ++t) {
        const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(t) * tile.cols + begin;
        const QuantizedRows& x = tile.quantized;
        float sum = DotStretch(stretch, size, x.values + first, x.scales + first / 32);
        if (Format::kHasMinimums) sum -= DotMinimums(stretch, size, x.sums16 + first / kRun);
        tile.out[t * tile.out_stride + row] += sum;
      }
    }
  }
}

}  // namespace

namespace portable {
void MatMulQ8_0(const MatMulTile& tile) { MatMul<Q8_0>(tile); }
void MatMulQ4_0(const MatMulTile& tile) { MatMul<Q4_0>(tile); }
void MatMulQ4_K(const MatMulTile& tile) { MatMul<Q4_K>(tile); }
void MatMulQ5_K(const MatMulTile& tile) { MatMul<Q5_K>(tile); }
void MatMulQ6_K(const MatMulTile& tile) { MatMul<Q6_K>(tile); }
}  // namespace portable

}  // namespace doppler
