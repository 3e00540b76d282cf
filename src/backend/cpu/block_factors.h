// Factors of blocks that no instruction set reads better than another. Each file of kernels that
// includes this has functions of its own: shared ones would bring one file's instructions to
// processors without them.
#pragma once

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

using Byte = unsigned char;

float LoadBf16(const Byte* from) {
  unsigned short bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  return __builtin_bit_cast(float, static_cast<unsigned>(bits) << 16);
}

// 2^(exponent - 128).
float LoadE8M0(const Byte* from) {
  const unsigned exponent = *from;
  return __builtin_bit_cast(float, exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23);
}

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
