// The kernels of the cpu backend, as one table of functions per instruction set.
//
// A file of kernels is compiled for its own instruction set, so it may not emit a function that
// the linker could pick for another: it includes this header, intrinsics and templates that it
// instantiates with types of an unnamed namespace, and nothing of the standard library that has
// code. So there are plain pointers here and no spans.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/unpack.h"

namespace doppler {

struct Fp16 {
  std::uint16_t bits;
};
struct Bf16 {
  std::uint16_t bits;
};
struct F8E4M3 {
  std::uint8_t bits;
};

// Activations as int8, for integer dot products with quantised weights: 32 values share a scale,
// and the sums take care of weights whose zero is not at 0. `cols` is a multiple of 32, and rows
// are `stride` values apart, also a multiple of 32; scales and sums accordingly. For products that
// read residuals an activation is scale * (value + residual / 256), and the scales of a token are
// all the same: 16 bits hold what a row's largest value leaves of the others.
struct QuantizedRows {
  std::int8_t* values = nullptr;     // [tokens, stride]
  std::int8_t* residuals = nullptr;  // [tokens, stride], or null if no one reads them
  // The same plus 128, for products of unsigned activations with signed weights; with residuals
  // the two bytes of 256 * value + residual + 2^15. Null unless the table has `reads_unsigned`.
  std::uint8_t* unsigned_values = nullptr;
  std::uint8_t* unsigned_residuals = nullptr;
  // [tokens, stride]: the value, or 256 * value + residual. Null unless the table has
  // `reads_whole_values`.
  std::int16_t* whole_values = nullptr;
  float* scales = nullptr;  // [tokens, stride / 32]
  float* sums32 = nullptr;  // [tokens, stride / 32]: scale * sum of 32 values
  float* sums16 = nullptr;  // [tokens, stride / 16]: scale * sum of 16 values
  // [tokens, stride / 32]: sum of 32 values, or of 256 * value + residual
  std::int32_t* whole_sums = nullptr;
  std::int32_t* whole_sums16 = nullptr;  // [tokens, stride / 16]: sum of 16 values
  // Instead of all that, for products of bf16: the activations and what rounding left of them, or
  // null if no one reads that. [tokens / 16, cols / 32, 16, 32] with a multiple of 16 tokens; in
  // which order the 32 are, and times what, is a matter of the path. Those of tokens that are not
  // there may be anything.
  Bf16* halves = nullptr;
  Bf16* half_residuals = nullptr;
  int cols = 0;
  int stride = 0;
};

// Tokens that halves take the place of: they come in tiles of sixteen.
constexpr int InHalfTiles(int tokens) { return (tokens + 15) / 16 * 16; }

// Where halves of a row begin; the next 32 columns are 16 * 32 halves further on.
constexpr std::ptrdiff_t HalvesOfRow(int row, int cols) {
  return std::ptrdiff_t{row / 16 * 16} * cols + row % 16 * 32;
}

// How long before they are read weights in groups of rows are fetched from memory, as one kind of
// processor wants it: a matter of its caches and of its own prefetcher.
enum class FetchDistance : std::uint8_t { kZen4, kIntel, kZen5 };
constexpr int kFetchDistances = 3;

// Some rows of a weight matrix times some tokens. Float weights read `in`, others `quantized`
// if the table can quantise.
struct MatMulTile {
  static constexpr int kMaxTokens = 96;
  static constexpr int kMaxPromptTokens = 128;  // of products of halves
  static constexpr int kGridBlock = 128;

  const unsigned char* weights = nullptr;  // [rows], row_bytes apart
  std::size_t row_bytes = 0;
  bool grouped = false;  // groups of sixteen rows instead, each of 16 * row_bytes (row_groups.h)
  FetchDistance fetch_distance = FetchDistance::kZen4;
  int rows = 0;
  int cols = 0;
  int tokens = 0;                      // at most kMaxTokens, or kMaxPromptTokens
  const Unpacker* unpacker = nullptr;  // of formats that have one
  // Scales of f8_e4m3, [.., grid_cols]: row r and column c have the one at
  // [(first_row + r) / kGridBlock, c / kGridBlock].
  const float* grid = nullptr;
  int grid_cols = 0;
  int first_row = 0;
  const float* in = nullptr;  // [tokens, cols]
  std::ptrdiff_t in_stride = 0;
  QuantizedRows quantized;
  float* out = nullptr;  // [tokens, rows]
  std::ptrdiff_t out_stride = 0;
};

// Query heads of one token that share one KV head.
struct AttentionTask {
  static constexpr int kMaxHeads = 16;

  const float* queries = nullptr;  // [heads, key_dim]
  const float* sinks = nullptr;    // [heads], or null
  int heads = 0;                   // at most kMaxHeads
  int key_dim = 0;
  int value_dim = 0;
  int value_stride = 0;  // elements from a position's value to the next one's
  float scale = 1;
  int first = 0;  // the token sees the positions from `first` to `end` - 1
  int end = 0;
  const std::byte* const* keys = nullptr;    // [blocks]
  const std::byte* const* values = nullptr;  // [blocks]
  int blocks = 0;                            // position p is in block p / block_tokens % blocks
  int block_tokens = 0;
  std::ptrdiff_t key_offset = 0;  // elements from the start of a block to the KV head
  std::ptrdiff_t value_offset = 0;
  float* out = nullptr;  // [heads, value_dim]
};

using MatMulKernel = void (*)(const MatMulTile& tile);
using AttentionKernel = void (*)(const AttentionTask& task);

// Of quantised weights, by DType; null for the others.
struct MatMulKernels {
  static constexpr int kTypes = 25;
  MatMulKernel of[kTypes];
};

// Of weights that are floats.
struct FloatMatMulKernels {
  MatMulKernel f32 = nullptr;
  MatMulKernel f16 = nullptr;
  MatMulKernel bf16 = nullptr;
  MatMulKernel f8_e4m3 = nullptr;
};

struct CpuKernels {
  const char* name;

  const MatMulKernels* matmul;
  FloatMatMulKernels float_matmul = {};

  // Writes one row of `out`. Null if every product reads floats.
  void (*quantize)(const float* in, const QuantizedRows& out);
  // Products of prompts, which read halves. Null if there are none.
  const MatMulKernels* prompt_matmul = nullptr;
  // Writes the halves of one row of `out`, and the residuals if it has any.
  void (*to_halves)(const float* in, int row, const QuantizedRows& out) = nullptr;
  bool reads_unsigned = false;
  bool reads_whole_values = false;
  // Whether products take groups of rows as they are, in the layout GroupLayoutOf.
  bool reads_groups = false;

  void (*rms_norm)(const float* in, const float* weight, float epsilon, int size,
                   float* out) = nullptr;
  void (*layer_norm)(const float* in, const float* weight, const float* bias, float epsilon,
                     int size, float* out) = nullptr;
  void (*rope)(float* part, int half, const float* cos, const float* sin) = nullptr;
  void (*rope_interleaved)(float* part, int half, const float* cos, const float* sin) = nullptr;
  void (*swiglu)(const float* gate, const float* up, int size, float* out) = nullptr;
  void (*clamped_swiglu)(const float* gate, const float* up, float alpha, float limit, int size,
                         float* out) = nullptr;
  void (*add)(const float* y, int size, float* x) = nullptr;
  void (*add_scaled)(const float* y, float factor, int size,
                     float* x) = nullptr;  // x += factor * y

  void (*to_f16)(const float* in, int size, Fp16* out) = nullptr;
  void (*to_bf16)(const float* in, int size, Bf16* out) = nullptr;
  AttentionKernel attend_f32 = nullptr;
  AttentionKernel attend_f16 = nullptr;
  AttentionKernel attend_bf16 = nullptr;
};

extern const CpuKernels kPortableKernels;
extern const CpuKernels kAvx2Kernels;        // x86-64 only
extern const CpuKernels kAvxVnniKernels;     // x86-64 only
extern const CpuKernels kAvx512VnniKernels;  // x86-64 only
extern const CpuKernels kAmxInt8Kernels;     // x86-64 only
extern const CpuKernels kAmxBf16Kernels;     // x86-64 only
extern const CpuKernels kNeonDotKernels;     // AArch64 only

}  // namespace doppler
