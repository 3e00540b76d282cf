// Chunks whose runs have powers of two as scales (Format::kSharesExponents): a row's runs are added
// up as whole numbers, shifted by what their exponents have more than a base that the chunk shares,
// so that one conversion and one scale serve 256 columns instead of 32. Only the products' headers
// include this.
//
// The base is kMostShift below the row's largest exponent of the chunk. A run below it is far: its
// bits would be lost, and it is scaled and added up alone, in the lanes of avx512_quant.cc, to a
// sum that joins the shared one at the end. An output is
//
//   sum over chunks of 2^base * (sum over runs that are not far of dot << (exponent - base))
//   + sum over far runs of 2^exponent * dot
//
// Shifted weights of four bits still fit into bytes, and 256 products of those with 16 bits into an
// int32: 256 * (12 << 3) * 2^15 < 2^30.
#pragma once

#include <immintrin.h>

#include "backend/cpu/x86/avx512_formats.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

constexpr int kMostShift = 3;

// A row in each lane, or one row in all.
struct SharedBase {
  __m512i exponents;
  __m512 scales;

  explicit SharedBase(__m512i largest)
      : exponents(_mm512_sub_epi32(largest, _mm512_set1_epi32(kMostShift))),
        scales(_mm512_mul_ps(E8M0ToFloat(largest), _mm512_set1_ps(1.0f / (1u << kMostShift)))) {}

  // As _mm512_sllv_epi32 takes them, which leaves nothing of far runs: their shifts are negative,
  // and larger than 31 as it counts.
  __m512i Shifts(__m512i of_runs) const { return _mm512_sub_epi32(of_runs, exponents); }
  __mmask16 Far(__m512i of_runs) const { return _mm512_cmplt_epi32_mask(of_runs, exponents); }
};

// The exponents of sixteen rows: sixteen bytes of each run.
class RowExponents {
 public:
  RowExponents(const Byte* bytes, int runs) : bytes_(bytes) {
    __m128i largest = Load16(bytes);
    __m128i smallest = largest;
    for (int run = 1; run < runs; ++run) {
      const __m128i of_run = Load16(bytes + 16 * run);
      largest = _mm_max_epu8(largest, of_run);
      smallest = _mm_min_epu8(smallest, of_run);
    }
    largest_ = largest;
    has_far_ = _mm_cmpgt_epu8_mask(_mm_sub_epi8(largest, smallest), _mm_set1_epi8(kMostShift)) != 0;
  }

  SharedBase Base() const { return SharedBase(_mm512_cvtepu8_epi32(largest_)); }
  __m512i Of(int run) const { return _mm512_cvtepu8_epi32(Load16(bytes_ + 16 * run)); }
  // Whether any run of any row is.
  bool HasFar() const { return has_far_; }

 private:
  const Byte* bytes_;
  __m128i largest_;
  bool has_far_;
};

// Adds what a far run of some rows has to the sums of its lane.
__m512 AddFar(__m512 sum, __m512i dots, __m512i exponents, __mmask16 far) {
  return _mm512_mask3_fmadd_ps(_mm512_cvtepi32_ps(dots), E8M0ToFloat(exponents), sum, far);
}

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
