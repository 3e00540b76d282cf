#include "backend/cpu/x86/emulated_tiles.h"

#include "backend/cpu/quant_matmul.h"
#include "backend/cpu/x86/amx_tile_product.h"
#include "backend/cpu/x86/avx512_codebooks.h"
#include "backend/cpu/x86/avx512_formats.h"
#include "backend/cpu/x86/avx512_plain_formats.h"

namespace doppler {
namespace {

class EmulatedTiles {
 public:
  explicit EmulatedTiles(int words) : words_(words) {}
  void SetTokens(int tokens) { tokens_ = tokens; }
  void Release() { tokens_ = 0; }

  // TDPBSSD (Intel's Architecture Instruction Set Extensions reference, chapter 3): row m of the
  // first operand has bytes 4 * k + i, row k of the second bytes 4 * n + i.
  template <int kSlot>
  void Multiply(const std::int8_t* x, std::ptrdiff_t stride, const __m512i* words,
                std::int32_t (&dots)[16][16]) const {
    const auto* weights = reinterpret_cast<const signed char*>(words);
    for (int m = 0; m < tokens_; ++m) {
      for (int n = 0; n < 16; ++n) {
        std::int32_t sum = 0;
        for (int k = 0; k < words_; ++k) {
          for (int i = 0; i < 4; ++i) {
            sum += x[m * stride + 4 * k + i] * weights[64 * k + 4 * n + i];
          }
        }
        dots[m][n] = sum;
      }
    }
  }

 private:
  int words_;
  int tokens_ = 0;
};

template <class Format, MatMulKernel kVnni>
void Emulate(const MatMulTile& tile) {
  MultiplyByTiles<Format, EmulatedTiles>(tile, kVnni);
}

}  // namespace

constinit const MatMulKernel kEmulatedTileProducts[CpuKernels::kTypes] = {
    nullptr,                                 // f32
    nullptr,                                 // f16
    nullptr,                                 // bf16
    Emulate<Q80, avx512::MatMulQ80>,         // q8_0
    Emulate<Q40, avx512::MatMulQ40>,         // q4_0
    Emulate<Q4K, avx512::MatMulQ4K>,         // q4_k
    Emulate<Q5K, avx512::MatMulQ5K>,         // q5_k
    Emulate<Q6K, avx512::MatMulQ6K>,         // q6_k
    Emulate<Q41, avx512::MatMulQ41>,         // q4_1
    Emulate<Q50, avx512::MatMulQ50>,         // q5_0
    Emulate<Q51, avx512::MatMulQ51>,         // q5_1
    Emulate<Q2K, avx512::MatMulQ2K>,         // q2_k
    Emulate<Q3K, avx512::MatMulQ3K>,         // q3_k
    Emulate<Iq4Nl, avx512::MatMulIq4Nl>,     // iq4_nl
    Emulate<Iq4Xs, avx512::MatMulIq4Xs>,     // iq4_xs
    Emulate<Iq3Xxs, avx512::MatMulIq3Xxs>,   // iq3_xxs
    Emulate<Iq3S, avx512::MatMulIq3S>,       // iq3_s
    Emulate<Iq2Xxs, avx512::MatMulIq2Xxs>,   // iq2_xxs
    Emulate<Iq2Xs, avx512::MatMulIq2Xs>,     // iq2_xs
    Emulate<Iq2S, avx512::MatMulIq2S>,       // iq2_s
    Emulate<Iq1S, avx512::MatMulIq1S>,       // iq1_s
    Emulate<Iq1M, avx512::MatMulIq1M>,       // iq1_m
    Emulate<Mxfp4, avx512::MatMulMxfp4>,     // mxfp4
    nullptr,                                 // f8_e4m3
    Emulate<Int4G32, avx512::MatMulInt4G32>  // int4_g32
};

}  // namespace doppler
