#include <arm_neon.h>

#include "backend/int8_rate.h"

namespace doppler {
namespace {

// Products that do not wait for each other: more than an instruction's latency times those that
// begin at once.
constexpr int kChains = 16;

__attribute__((target("arch=armv8.2-a+dotprod"))) int RunNeonDot(int rounds) {
  int32x4_t sums[kChains];
  for (int32x4_t& sum : sums) sum = vdupq_n_s32(0);
  const int8x16_t weights = vdupq_n_s8(3);
  for (int round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int32x4_t& sum : sums) sum = vdotq_s32(sum, weights, weights);
  }
  for (int i = 1; i < kChains; ++i) sums[0] = vaddq_s32(sums[0], sums[i]);
  return vgetq_lane_s32(sums[0], 0);
}

}  // namespace

Int8Kernel Int8Products(CpuPath path) {
  if (path == CpuPath::kNeonDot) return {RunNeonDot, 16 * kChains};
  return CompiledInt8Products();
}

}  // namespace doppler
