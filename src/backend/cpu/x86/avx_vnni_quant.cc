// Integer dot products with AVX-VNNI: those of AVX2 with its bits (avx2_products.h).

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/avx2_products.h"

namespace doppler::avx_vnni {

constinit const MatMulKernels kProducts = kProductsByType;

}  // namespace doppler::avx_vnni
