// The matrix products over quantised weights, by instruction set.
#pragma once

#include "backend/cpu/kernels.h"

namespace doppler {

namespace portable {
void MatMulQ8_0(const MatMulTile& tile);
void MatMulQ4_0(const MatMulTile& tile);
void MatMulQ4_K(const MatMulTile& tile);
void MatMulQ5_K(const MatMulTile& tile);
void MatMulQ6_K(const MatMulTile& tile);
}  // namespace portable

namespace avx2 {
void MatMulQ8_0(const MatMulTile& tile);
void MatMulQ4_0(const MatMulTile& tile);
void MatMulQ4_K(const MatMulTile& tile);
void MatMulQ5_K(const MatMulTile& tile);
void MatMulQ6_K(const MatMulTile& tile);
}  // namespace avx2

namespace avx512 {
void MatMulQ8_0(const MatMulTile& tile);
void MatMulQ4_0(const MatMulTile& tile);
void MatMulQ4_K(const MatMulTile& tile);
void MatMulQ5_K(const MatMulTile& tile);
void MatMulQ6_K(const MatMulTile& tile);
}  // namespace avx512

}  // namespace doppler
