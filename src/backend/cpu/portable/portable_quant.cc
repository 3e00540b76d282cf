// Matrix products over quantised weights without integer instructions: a stretch of a row becomes
// floats once and is then multiplied with every token.

#include "backend/cpu/quant_matmul.h"
#include "backend/quantize.h"

namespace doppler {
namespace {

constexpr int kStretch = 256;  // a whole number of blocks of every type
constexpr int kLanes = 16;

// Sixteen sums that do not wait for each other. REQUIRES: size is a multiple of kLanes.
float Dot(const float* a, const float* b, int size) {
  float sums[kLanes] = {};
  for (int i = 0; i < size; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  }
  return sums[0];
}

// Stretch::Read(blocks, size, out) makes `size` values of what begins at `blocks` and returns where
// it ends.
template <class Stretch>
void MatMul(const Stretch& stretch, const MatMulTile& tile) {
  for (int row = 0; row < tile.rows; ++row) {
    const unsigned char* blocks = tile.weights + static_cast<std::size_t>(row) * tile.row_bytes;
    for (int t = 0; t < tile.tokens; ++t) tile.out[t * tile.out_stride + row] = 0;
    for (int begin = 0; begin < tile.cols; begin += kStretch) {
      const int size = tile.cols - begin < kStretch ? tile.cols - begin : kStretch;
      float values[kStretch];
      blocks = stretch.Read(blocks, size, values);
      for (int t = 0; t < tile.tokens; ++t) {
        const float* x = tile.in + t * tile.in_stride + begin;
        tile.out[t * tile.out_stride + row] += Dot(values, x, size);
      }
    }
  }
}

template <DType kType>
struct Ggml {
  static const unsigned char* Read(const unsigned char* blocks, int size, float* out) {
    constexpr const DTypeTraits& kTraits = Traits(kType);
    const auto bytes = static_cast<std::size_t>(size / kTraits.block_elements) *
                       static_cast<std::size_t>(kTraits.block_bytes);
    Dequantize(kType, {reinterpret_cast<const std::byte*>(blocks), bytes},
               {out, static_cast<std::size_t>(size)});
    return blocks + bytes;
  }
};

struct Unpacked {
  const Unpacker& unpacker;

  const unsigned char* Read(const unsigned char* blocks, int size, float* out) const {
    std::int8_t values[kStretch];
    float scales[kStretch / 16];
    float offsets[kStretch / 16] = {};
    for (int i = 0; i < size; i += unpacker.block_elements) {
      unpacker.unpack(blocks, {values + i, scales + i / 16, offsets + i / 16});
      blocks += unpacker.block_bytes;
    }
    for (int i = 0; i < size; ++i) {
      out[i] = scales[i / 16] * static_cast<float>(values[i]) + offsets[i / 16];
    }
    return blocks;
  }
};

template <DType kType>
void MatMulGgml(const MatMulTile& tile) {
  MatMul(Ggml<kType>{}, tile);
}
void MatMulUnpacked(const MatMulTile& tile) { MatMul(Unpacked{*tile.unpacker}, tile); }

}  // namespace

namespace portable {
constinit const MatMulKernels kProducts = {{
    nullptr,                   // f32
    nullptr,                   // f16
    nullptr,                   // bf16
    MatMulGgml<DType::kQ8_0>,  // q8_0
    MatMulGgml<DType::kQ4_0>,  // q4_0
    MatMulGgml<DType::kQ4_K>,  // q4_k
    MatMulGgml<DType::kQ5_K>,  // q5_k
    MatMulGgml<DType::kQ6_K>,  // q6_k
    MatMulUnpacked,            // q4_1
    MatMulUnpacked,            // q5_0
    MatMulUnpacked,            // q5_1
    MatMulUnpacked,            // q2_k
    MatMulUnpacked,            // q3_k
    MatMulUnpacked,            // iq4_nl
    MatMulUnpacked,            // iq4_xs
    MatMulUnpacked,            // iq3_xxs
    MatMulUnpacked,            // iq3_s
    MatMulUnpacked,            // iq2_xxs
    MatMulUnpacked,            // iq2_xs
    MatMulUnpacked,            // iq2_s
    MatMulUnpacked,            // iq1_s
    MatMulUnpacked,            // iq1_m
    MatMulUnpacked,            // mxfp4
    nullptr,                   // f8_e4m3
    MatMulUnpacked             // int4_g32
}};
}  // namespace portable

}  // namespace doppler
