// The matrix products over quantised weights, by instruction set.
#pragma once

#include "backend/cpu/kernels.h"

namespace doppler {

namespace portable {
extern const MatMulKernels kProducts;
}  // namespace portable

namespace avx2 {
extern const MatMulKernels kProducts;
}  // namespace avx2

namespace avx_vnni {
extern const MatMulKernels kProducts;
}  // namespace avx_vnni

namespace avx512 {
extern const MatMulKernels kProducts;
}  // namespace avx512

// Of some types, where bytes can be looked up (AVX-512 VBMI); null for the others.
namespace avx512_vbmi {
extern const MatMulKernels kProducts;
}  // namespace avx512_vbmi

// From some tokens on by tiles.
namespace amx {
extern const MatMulKernels kProducts;
}  // namespace amx

// Of halves, for prompts.
namespace amx_bf16 {
extern const MatMulKernels kProducts;
void ToHalves(const float* in, int row, const QuantizedRows& out);
}  // namespace amx_bf16

namespace neon {
extern const MatMulKernels kProducts;
}  // namespace neon

}  // namespace doppler
