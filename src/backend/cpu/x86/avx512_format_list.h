// The formats of avx512_formats.h by DType, for tables of their products.
#pragma once

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/avx512_codebooks.h"
#include "backend/cpu/x86/avx512_formats.h"
#include "backend/cpu/x86/avx512_plain_formats.h"

namespace doppler {
namespace {

template <class... Formats>
struct FormatList {};

// Types whose weights are floats.
struct NoFormat {};

using FormatsByType = FormatList<NoFormat, NoFormat, NoFormat, Q80, Q40, Q4K, Q5K, Q6K, Q41, Q50,
                                 Q51, Q2K, Q3K, Iq4Nl, Iq4Xs, Iq3Xxs, Iq3S, Iq2Xxs, Iq2Xs, Iq2S,
                                 Iq1S, Iq1M, Mxfp4, NoFormat, Int4G32>;

// Which place of the list a format has, which has to be there.
template <class Format, class... Formats>
consteval int PlaceOf(FormatList<Formats...>) {
  constexpr bool kIsIt[] = {__is_same(Format, Formats)...};
  int place = 0;
  while (!kIsIt[place]) ++place;
  return place;
}

template <class Products, class Format>
consteval MatMulKernel ProductIn() {
  if constexpr (__is_same(Format, NoFormat)) {
    return nullptr;
  } else {
    return Products::template Run<Format>;
  }
}

template <class Products, class... Formats>
consteval MatMulKernels TableOf(FormatList<Formats...>) {
  static_assert(sizeof...(Formats) == MatMulKernels::kTypes);
  return {{ProductIn<Products, Formats>()...}};
}

// Products::Run<Format> of every format.
template <class Products>
consteval MatMulKernels ProductsByType() {
  return TableOf<Products>(FormatsByType{});
}

}  // namespace
}  // namespace doppler
