// The kernels that work on floats, once for every vector type.
//
// V is a struct of an unnamed namespace, so that each instantiation stays inside its file. It has
//   kLanes, F (kLanes floats), Zero, Set1, Add, Sub, Mul, Div, Min, Max, Abs, Round, Fma(a, b, c) =
//   a * b + c, PowerOfTwo(n) = 2^n for whole n, Sum, Largest, InRegister (its argument, which GCC
//   else reads from memory at each use), Load and LoadPart(from, n) (zeros after n values) from
//   float, Fp16, Bf16 and F8E4M3 (these divided by kF8Factor, a power of two), Store and
//   StorePart(to, n, v) to float and Fp16, and StoreInt8 (of whole numbers), and where products
//   read it StoreUint8. Where it is faster than so many Sums, it has SumEach: of kLanes vectors,
//   each added up in the order of Sum.
// Min and Max give their second argument if either is not a number.
#pragma once

#include "backend/cpu/kernels.h"

namespace doppler {

// Cody and Waite's reduction to |r| <= ln(2) / 2 and a Taylor polynomial: relative error about
// 2e-7. Saturates near the ends of the float range instead of reaching 0 or infinity.
template <class V>
typename V::F Exp(typename V::F x) {
  using F = typename V::F;
  x = V::Min(V::Set1(88.3f), V::Max(V::Set1(-87.3f), x));
  const F n = V::Round(V::Mul(x, V::Set1(1.44269504f)));
  F r = V::Fma(n, V::Set1(-0.693359375f), x);
  r = V::Fma(n, V::Set1(2.12194440e-4f), r);
  F p = V::Set1(1.0f / 720);
  p = V::Fma(p, r, V::Set1(1.0f / 120));
  p = V::Fma(p, r, V::Set1(1.0f / 24));
  p = V::Fma(p, r, V::Set1(1.0f / 6));
  p = V::Fma(p, r, V::Set1(0.5f));
  p = V::Fma(p, r, V::Set1(1.0f));
  p = V::Fma(p, r, V::Set1(1.0f));
  return V::Mul(p, V::PowerOfTwo(n));
}

// What rounding `x` * `inverse` to `q` left, in 1/256; a half becomes 127/256 whatever its sign.
template <class V>
typename V::F ResidualOf(typename V::F x, typename V::F inverse, typename V::F q) {
  const typename V::F left = V::Mul(V::Sub(V::Mul(x, inverse), q), V::Set1(256.0f));
  return V::Max(V::Min(V::Round(left), V::Set1(127.0f)), V::Set1(-127.0f));
}

// Whole numbers from 0 to 255 from element `at` on; where no product reads them, `to` is null.
template <class V>
void StoreUnsigned(typename V::F whole, int at, std::uint8_t* to) {
  if constexpr (requires { V::StoreUint8(to, whole); }) V::StoreUint8(to + at, whole);
}

// As StoreUnsigned, from -2^15 to 2^15 - 1.
template <class V>
void StoreWhole(typename V::F whole, int at, std::int16_t* to) {
  if constexpr (requires { V::StoreInt16(to, whole); }) V::StoreInt16(to + at, whole);
}

// Values from element `at` on, whole numbers from -127 to 127.
template <class V>
void StoreValues(typename V::F values, int at, const QuantizedRows& out) {
  V::StoreInt8(out.values + at, values);
  StoreUnsigned<V>(V::Add(values, V::Set1(128.0f)), at, out.unsigned_values);
  StoreWhole<V>(values, at, out.whole_values);
}

// The same with residuals, whole numbers too.
template <class V>
void StoreValues(typename V::F values, typename V::F residuals, int at, const QuantizedRows& out) {
  V::StoreInt8(out.values + at, values);
  V::StoreInt8(out.residuals + at, residuals);
  StoreWhole<V>(V::Fma(values, V::Set1(256.0f), residuals), at, out.whole_values);
  const auto borrowed = V::Max(V::Min(V::Sub(V::Zero(), residuals), V::Set1(1.0f)), V::Set1(0.0f));
  StoreUnsigned<V>(V::Sub(V::Add(values, V::Set1(128.0f)), borrowed), at, out.unsigned_values);
  StoreUnsigned<V>(V::Fma(borrowed, V::Set1(256.0f), residuals), at, out.unsigned_residuals);
}

// What int8 values are to be multiplied with, and what activations are on the way there.
struct Int8Scale {
  float scale;
  float inverse;
};

template <class V>
Int8Scale Int8ScaleOf(const float* in, int count) {
  typename V::F size = V::Zero();
  for (int i = 0; i < count; i += V::kLanes) size = V::Max(size, V::Abs(V::Load(in + i)));
  const float scale = V::Largest(size) / 127.0f;
  // Below this the inverse would overflow, and the values do not matter.
  if (scale < 1e-37f) return {0.0f, 0.0f};
  return {scale, 1.0f / scale};
}

// The 32 values from column `begin` on.
template <class V>
void QuantizeRun(const float* in, int begin, const Int8Scale& of, const QuantizedRows& out) {
  using F = typename V::F;
  const F inverse = V::Set1(of.inverse);
  F residuals = V::Zero();
  const auto quantize_half = [&](int from) {
    F sum = V::Zero();
    for (int i = from; i < from + 16; i += V::kLanes) {
      const F x = V::Load(in + i);
      const F q = V::Round(V::Mul(x, inverse));
      if (out.residuals == nullptr) {
        StoreValues<V>(q, i, out);
      } else {
        const F residual = ResidualOf<V>(x, inverse, q);
        StoreValues<V>(q, residual, i, out);
        residuals = V::Add(residuals, residual);
      }
      sum = V::Add(sum, q);
    }
    return V::Sum(sum);
  };
  // Two variables and no array: written one by one and read as a pair, that would stall.
  const float first_sum = quantize_half(begin);
  const float second_sum = quantize_half(begin + 16);
  const int whole = static_cast<int>(first_sum + second_sum);
  out.scales[begin / 32] = of.scale;
  out.sums32[begin / 32] = of.scale * (first_sum + second_sum);
  out.whole_sums16[begin / 16] = static_cast<int>(first_sum);
  out.whole_sums16[begin / 16 + 1] = static_cast<int>(second_sum);
  out.sums16[begin / 16] = of.scale * first_sum;
  out.sums16[begin / 16 + 1] = of.scale * second_sum;
  out.whole_sums[begin / 32] =
      out.residuals == nullptr ? whole : 256 * whole + static_cast<int>(V::Sum(residuals));
}

template <class V>
void QuantizeRow(const float* in, const QuantizedRows& out) {
  const int share = out.residuals == nullptr ? 32 : out.cols;
  for (int first = 0; first < out.cols; first += share) {
    const Int8Scale of = Int8ScaleOf<V>(in + first, share);
    for (int begin = first; begin < first + share; begin += 32) {
      QuantizeRun<V>(in, begin, of, out);
    }
  }
}

template <class V>
void RmsNormRun(const float* in, const float* weight, float epsilon, int size, float* out) {
  using F = typename V::F;
  F squares = V::Zero();
  int i = 0;
  for (; i + V::kLanes <= size; i += V::kLanes) {
    const F x = V::Load(in + i);
    squares = V::Fma(x, x, squares);
  }
  const int left = size - i;
  if (left > 0) {
    const F x = V::LoadPart(in + i, left);
    squares = V::Fma(x, x, squares);
  }
  const float mean = V::Sum(squares) / static_cast<float>(size);
  const F factor = V::Set1(1.0f / __builtin_sqrtf(mean + epsilon));
  for (i = 0; i + V::kLanes <= size; i += V::kLanes) {
    V::Store(out + i, V::Mul(V::Mul(V::Load(in + i), factor), V::Load(weight + i)));
  }
  if (left > 0) {
    const F x = V::Mul(V::LoadPart(in + i, left), factor);
    V::StorePart(out + i, left, V::Mul(x, V::LoadPart(weight + i, left)));
  }
}

// The sum of in[i] - shift, and of its square.
template <class V>
void Moments(const float* in, float shift, int size, float* sum, float* squares) {
  using F = typename V::F;
  const F offset = V::Set1(shift);
  F sums = V::Zero();
  F products = V::Zero();
  int i = 0;
  for (; i + V::kLanes <= size; i += V::kLanes) {
    const F x = V::Sub(V::Load(in + i), offset);
    sums = V::Add(sums, x);
    products = V::Fma(x, x, products);
  }
  *sum = V::Sum(sums);
  *squares = V::Sum(products);
  for (; i < size; ++i) {
    const float x = in[i] - shift;
    *sum += x;
    *squares += x * x;
  }
}

template <class V>
void LayerNormRun(const float* in, const float* weight, const float* bias, float epsilon, int size,
                  float* out) {
  using F = typename V::F;
  float sum;
  float squares;
  Moments<V>(in, 0.0f, size, &sum, &squares);
  const float mean = sum / static_cast<float>(size);
  Moments<V>(in, mean, size, &sum, &squares);
  const float factor = 1.0f / __builtin_sqrtf(squares / static_cast<float>(size) + epsilon);
  for (int i = 0; i < size; i += V::kLanes) {
    const int n = size - i < V::kLanes ? size - i : V::kLanes;
    const F x = V::Mul(V::Sub(V::LoadPart(in + i, n), V::Set1(mean)), V::Set1(factor));
    V::StorePart(out + i, n, V::Fma(x, V::LoadPart(weight + i, n), V::LoadPart(bias + i, n)));
  }
}

template <class V>
void RopeHead(float* head, int half, const float* cos, const float* sin) {
  using F = typename V::F;
  for (int i = 0; i < half; i += V::kLanes) {
    const int n = half - i < V::kLanes ? half - i : V::kLanes;
    const F c = V::LoadPart(cos + i, n);
    const F s = V::LoadPart(sin + i, n);
    const F a = V::LoadPart(head + i, n);
    const F b = V::LoadPart(head + half + i, n);
    V::StorePart(head + i, n, V::Sub(V::Mul(a, c), V::Mul(b, s)));
    V::StorePart(head + half + i, n, V::Add(V::Mul(b, c), V::Mul(a, s)));
  }
}

// Few values to a head: not worth the shuffles. V only keeps the function local.
template <class V>
void RopeInterleaved(float* part, int half, const float* cos, const float* sin) {
  for (int i = 0; i < half; ++i) {
    const float a = part[2 * i];
    const float b = part[2 * i + 1];
    part[2 * i] = a * cos[i] - b * sin[i];
    part[2 * i + 1] = b * cos[i] + a * sin[i];
  }
}

template <class V>
void ClampedSwiGluRow(const float* gate, const float* up, float alpha, float limit, int size,
                      float* out) {
  using F = typename V::F;
  const F one = V::Set1(1.0f);
  const F high = V::Set1(limit);
  const F low = V::Set1(-limit);
  for (int i = 0; i < size; i += V::kLanes) {
    const int n = size - i < V::kLanes ? size - i : V::kLanes;
    const F g = V::Min(high, V::LoadPart(gate + i, n));
    const F u = V::Max(low, V::Min(high, V::LoadPart(up + i, n)));
    const F exponential = Exp<V>(V::Mul(V::Set1(-alpha), g));
    const F gated = V::Div(g, V::Add(one, exponential));
    V::StorePart(out + i, n, V::Mul(gated, V::Add(u, one)));
  }
}

template <class V>
typename V::F SwiGluOf(typename V::F gate, typename V::F up) {
  using F = typename V::F;
  const F one = V::Set1(1.0f);
  const F exponential = Exp<V>(V::Sub(V::Zero(), gate));
  return V::Mul(V::Div(gate, V::Add(one, exponential)), up);
}

template <class V>
void SwiGluRow(const float* gate, const float* up, int size, float* out) {
  int i = 0;
  for (; i + V::kLanes <= size; i += V::kLanes) {
    V::Store(out + i, SwiGluOf<V>(V::Load(gate + i), V::Load(up + i)));
  }
  if (const int left = size - i; left > 0) {
    V::StorePart(out + i, left,
                 SwiGluOf<V>(V::LoadPart(gate + i, left), V::LoadPart(up + i, left)));
  }
}

template <class V>
void AddRow(const float* y, int size, float* x) {
  int i = 0;
  for (; i + V::kLanes <= size; i += V::kLanes) {
    V::Store(x + i, V::Add(V::Load(x + i), V::Load(y + i)));
  }
  for (; i < size; ++i) x[i] += y[i];
}

template <class V>
void AddScaledRow(const float* y, float factor, int size, float* x) {
  const typename V::F by = V::Set1(factor);
  for (int i = 0; i < size; i += V::kLanes) {
    const int n = size - i < V::kLanes ? size - i : V::kLanes;
    V::StorePart(x + i, n, V::Fma(by, V::LoadPart(y + i, n), V::LoadPart(x + i, n)));
  }
}

template <class V>
void ToFp16Row(const float* in, int size, Fp16* out) {
  int i = 0;
  for (; i + V::kLanes <= size; i += V::kLanes) V::Store(out + i, V::Load(in + i));
  if (const int left = size - i; left > 0) V::StorePart(out + i, left, V::LoadPart(in + i, left));
}

// Rounds to nearest even; a value that is not a number stays one. V only keeps the function local.
template <class V>
void ToBf16Row(const float* in, int size, Bf16* out) {
  for (int i = 0; i < size; ++i) {
    std::uint32_t bits;
    __builtin_memcpy(&bits, in + i, sizeof(bits));
    const std::uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    out[i].bits = static_cast<std::uint16_t>((is_nan ? bits | 0x400000u : rounded) >> 16);
  }
}

}  // namespace doppler
