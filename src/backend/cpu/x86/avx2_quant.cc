// Integer dot products with AVX2 (avx2_products.h).

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/avx2_products.h"

namespace doppler::avx2 {

constinit const MatMulKernels kProducts = kProductsByType;

}  // namespace doppler::avx2
