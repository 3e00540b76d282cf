// Factors of blocks that no instruction set reads better than another. Each file of kernels that
// includes this has functions of its own: shared ones would bring one file's instructions to
// processors without them.
#pragma once

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

using Byte = unsigned char;

[[maybe_unused]] float LoadBf16(const Byte* from) {
  unsigned short bits;
  __builtin_memcpy(&bits, from, sizeof(bits));
  return __builtin_bit_cast(float, static_cast<unsigned>(bits) << 16);
}

// 2^(exponent - 128).
[[maybe_unused]] float LoadE8M0(const Byte* from) {
  const unsigned exponent = *from;
  return __builtin_bit_cast(float, exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23);
}

// The eight scales and minimums of a block of q4_k or q5_k, a byte each, the first the lowest.
struct SubScaleBytes {
  unsigned long long scales;
  unsigned long long minimums;
};

// Six bits each: those of the first four runs in the low bits of a byte, the others in two parts.
SubScaleBytes UnpackSubScales(const Byte* packed) {
  unsigned word[3];
  __builtin_memcpy(word, packed, sizeof(word));
  const unsigned high_scales = (word[2] & 0x0f0f0f0fu) | ((word[0] >> 2) & 0x30303030u);
  const unsigned high_minimums = ((word[2] >> 4) & 0x0f0f0f0fu) | ((word[1] >> 2) & 0x30303030u);
  return {(word[0] & 0x3f3f3f3fu) | static_cast<unsigned long long>(high_scales) << 32,
          (word[1] & 0x3f3f3f3fu) | static_cast<unsigned long long>(high_minimums) << 32};
}

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
