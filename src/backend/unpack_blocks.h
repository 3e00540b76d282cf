// The functions behind UnpackerOf.
#pragma once

#include <cstdint>
#include <cstring>

#include "backend/unpack.h"
#include "base/float16.h"

namespace doppler::unpack {

using Byte = unsigned char;

template <typename T>
T Load(const Byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
inline float LoadFp16(const Byte* from) { return Fp16ToFloat(Load<std::uint16_t>(from)); }

// A block of 32 values that share a scale.
inline void SetScale32(const UnpackedBlock& out, int run, float scale) {
  out.scales[2 * run] = scale;
  out.scales[2 * run + 1] = scale;
}

void Q41(const Byte* block, const UnpackedBlock& out);
void Q50(const Byte* block, const UnpackedBlock& out);
void Q51(const Byte* block, const UnpackedBlock& out);
void Q2K(const Byte* block, const UnpackedBlock& out);
void Q3K(const Byte* block, const UnpackedBlock& out);
void Iq4Nl(const Byte* block, const UnpackedBlock& out);
void Iq4Xs(const Byte* block, const UnpackedBlock& out);
void Mxfp4(const Byte* block, const UnpackedBlock& out);
void Int4G32(const Byte* block, const UnpackedBlock& out);

void Iq3Xxs(const Byte* block, const UnpackedBlock& out);
void Iq3S(const Byte* block, const UnpackedBlock& out);
void Iq2Xxs(const Byte* block, const UnpackedBlock& out);
void Iq2Xs(const Byte* block, const UnpackedBlock& out);
void Iq2S(const Byte* block, const UnpackedBlock& out);
void Iq1S(const Byte* block, const UnpackedBlock& out);
void Iq1M(const Byte* block, const UnpackedBlock& out);

}  // namespace doppler::unpack
