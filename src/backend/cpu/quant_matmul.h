// The matrix products over quantised weights, by instruction set.
#pragma once

#include "backend/cpu/kernels.h"

namespace doppler {

namespace portable {
void MatMulQ80(const MatMulTile& tile);
void MatMulQ40(const MatMulTile& tile);
void MatMulQ4K(const MatMulTile& tile);
void MatMulQ5K(const MatMulTile& tile);
void MatMulQ6K(const MatMulTile& tile);
void MatMulUnpacked(const MatMulTile& tile);
}  // namespace portable

namespace avx2 {
void MatMulQ80(const MatMulTile& tile);
void MatMulQ40(const MatMulTile& tile);
void MatMulQ4K(const MatMulTile& tile);
void MatMulQ5K(const MatMulTile& tile);
void MatMulQ6K(const MatMulTile& tile);
void MatMulIq4Nl(const MatMulTile& tile);
void MatMulMxfp4(const MatMulTile& tile);
void MatMulInt4G32(const MatMulTile& tile);
void MatMulQ41(const MatMulTile& tile);
void MatMulQ50(const MatMulTile& tile);
void MatMulQ51(const MatMulTile& tile);
void MatMulQ2K(const MatMulTile& tile);
void MatMulQ3K(const MatMulTile& tile);
void MatMulIq4Xs(const MatMulTile& tile);
void MatMulIq3Xxs(const MatMulTile& tile);
void MatMulIq3S(const MatMulTile& tile);
void MatMulIq2Xxs(const MatMulTile& tile);
void MatMulIq2Xs(const MatMulTile& tile);
void MatMulIq2S(const MatMulTile& tile);
void MatMulIq1S(const MatMulTile& tile);
void MatMulIq1M(const MatMulTile& tile);
}  // namespace avx2

namespace avx512 {
void MatMulQ80(const MatMulTile& tile);
void MatMulQ40(const MatMulTile& tile);
void MatMulQ4K(const MatMulTile& tile);
void MatMulQ5K(const MatMulTile& tile);
void MatMulQ6K(const MatMulTile& tile);
void MatMulIq4Nl(const MatMulTile& tile);
void MatMulMxfp4(const MatMulTile& tile);
void MatMulInt4G32(const MatMulTile& tile);
void MatMulQ41(const MatMulTile& tile);
void MatMulQ50(const MatMulTile& tile);
void MatMulQ51(const MatMulTile& tile);
void MatMulQ2K(const MatMulTile& tile);
void MatMulQ3K(const MatMulTile& tile);
void MatMulIq4Xs(const MatMulTile& tile);
void MatMulIq3Xxs(const MatMulTile& tile);
void MatMulIq3S(const MatMulTile& tile);
void MatMulIq2Xxs(const MatMulTile& tile);
void MatMulIq2Xs(const MatMulTile& tile);
void MatMulIq2S(const MatMulTile& tile);
void MatMulIq1S(const MatMulTile& tile);
void MatMulIq1M(const MatMulTile& tile);
}  // namespace avx512

// From some tokens on by tiles.
namespace amx {
void MatMulQ80(const MatMulTile& tile);
void MatMulQ40(const MatMulTile& tile);
void MatMulQ4K(const MatMulTile& tile);
void MatMulQ5K(const MatMulTile& tile);
void MatMulQ6K(const MatMulTile& tile);
void MatMulIq4Nl(const MatMulTile& tile);
void MatMulMxfp4(const MatMulTile& tile);
void MatMulInt4G32(const MatMulTile& tile);
void MatMulQ41(const MatMulTile& tile);
void MatMulQ50(const MatMulTile& tile);
void MatMulQ51(const MatMulTile& tile);
void MatMulQ2K(const MatMulTile& tile);
void MatMulQ3K(const MatMulTile& tile);
void MatMulIq4Xs(const MatMulTile& tile);
void MatMulIq3Xxs(const MatMulTile& tile);
void MatMulIq3S(const MatMulTile& tile);
void MatMulIq2Xxs(const MatMulTile& tile);
void MatMulIq2Xs(const MatMulTile& tile);
void MatMulIq2S(const MatMulTile& tile);
void MatMulIq1S(const MatMulTile& tile);
void MatMulIq1M(const MatMulTile& tile);
}  // namespace amx

// Of halves, for prompts.
namespace amx_bf16 {
extern const MatMulKernels kProducts;
void ToHalves(const float* in, int row, const QuantizedRows& out);
}  // namespace amx_bf16

namespace neon {
void MatMulQ80(const MatMulTile& tile);
void MatMulQ40(const MatMulTile& tile);
void MatMulQ4K(const MatMulTile& tile);
void MatMulQ5K(const MatMulTile& tile);
void MatMulQ6K(const MatMulTile& tile);
void MatMulIq4Nl(const MatMulTile& tile);
void MatMulMxfp4(const MatMulTile& tile);
void MatMulInt4G32(const MatMulTile& tile);
void MatMulQ41(const MatMulTile& tile);
void MatMulQ50(const MatMulTile& tile);
void MatMulQ51(const MatMulTile& tile);
void MatMulQ2K(const MatMulTile& tile);
void MatMulQ3K(const MatMulTile& tile);
void MatMulIq4Xs(const MatMulTile& tile);
void MatMulIq3Xxs(const MatMulTile& tile);
void MatMulIq3S(const MatMulTile& tile);
void MatMulIq2Xxs(const MatMulTile& tile);
void MatMulIq2Xs(const MatMulTile& tile);
void MatMulIq2S(const MatMulTile& tile);
void MatMulIq1S(const MatMulTile& tile);
void MatMulIq1M(const MatMulTile& tile);
}  // namespace neon

}  // namespace doppler
