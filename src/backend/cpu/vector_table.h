// The part of a table of kernels that is the same for every vector type (see vector_kernels.h for
// V).
#pragma once

#include "backend/cpu/vector_attention.h"
#include "backend/cpu/vector_kernels.h"
#include "backend/cpu/vector_products.h"

namespace doppler {

// `kernels` with all that works on floats. For constant initialisation:
// nothing of an instruction set may run before it was chosen.
template <class V>
constexpr CpuKernels WithFloatKernels(CpuKernels kernels) {
  kernels.float_matmul = {.f32 = FloatProduct<V, float>::Run,
                          .f16 = FloatProduct<V, Fp16>::Run,
                          .bf16 = FloatProduct<V, Bf16>::Run,
                          .f8_e4m3 = FloatProduct<V, F8E4M3>::Run};
  kernels.rms_norm = RmsNormRun<V>;
  kernels.layer_norm = LayerNormRun<V>;
  kernels.rope = RopeHead<V>;
  kernels.rope_interleaved = RopeInterleaved<V>;
  kernels.swiglu = SwiGluRow<V>;
  kernels.clamped_swiglu = ClampedSwiGluRow<V>;
  kernels.add = AddRow<V>;
  kernels.add_scaled = AddScaledRow<V>;
  kernels.to_f16 = ToFp16Row<V>;
  kernels.to_bf16 = ToBf16Row<V>;
  kernels.attend_f32 = Attend<V, float>;
  kernels.attend_f16 = Attend<V, Fp16>;
  kernels.attend_bf16 = Attend<V, Bf16>;
  return kernels;
}

}  // namespace doppler
