// Blocks as int8 with a scale for each 16 values: what formats without kernels of their own are
// turned into, before they become floats or are multiplied as integers. The definition of these
// formats; docs/format.md has them in prose. No code of the standard library, so that files built
// for one instruction set may include this.
#pragma once

#include <cstdint>

namespace doppler {

enum class DType : std::uint8_t;

// Value i is `scales[i / 16] * values[i] + offsets[i / 16]`.
struct UnpackedBlock {
  std::int8_t* values = nullptr;
  float* scales = nullptr;
  float* offsets = nullptr;  // written only by formats that have some
};

struct Unpacker {
  void (*unpack)(const unsigned char* block, const UnpackedBlock& out) = nullptr;
  int block_elements = 0;
  int block_bytes = 0;
  bool has_offsets = false;
};

// Null for formats that are not unpacked: floats, and ggml's q8_0, q4_0, q4_k, q5_k and q6_k.
const Unpacker* UnpackerOf(DType dtype);

}  // namespace doppler
