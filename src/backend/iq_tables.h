// The codebooks of ggml's IQ formats: an index stands for a point, the sizes of eight or four
// neighbouring values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace doppler {

template <std::size_t kPoints, std::size_t kSize>
using Codebook = std::array<std::array<std::int8_t, kSize>, kPoints>;

extern const Codebook<256, 8> kIq2XxsPoints;
extern const Codebook<512, 8> kIq2XsPoints;
extern const Codebook<1024, 8> kIq2SPoints;
extern const Codebook<2048, 8> kIq1Points;  // eight times -1, 0 or 1
extern const Codebook<256, 4> kIq3XxsPoints;
extern const Codebook<512, 4> kIq3SPoints;

// The points of four once more, as the processor looks them up in registers: a value has four bits.
// Those of iq3_s are its size, those of iq3_xxs are the index of its size in kIq3XxsSizes. Value i
// is at bit 4 * i of a point's word; or the first two values are in one byte and the others in
// another.
template <std::size_t kPoints>
using PointWords = std::array<std::uint16_t, kPoints>;
template <std::size_t kPoints>
struct PointBytes {
  std::uint8_t front[kPoints];
  std::uint8_t back[kPoints];
};

// Two bits for each value, the index of its size in kIq2Sizes.
extern const PointBytes<256> kIq2XxsBytes;
extern const PointBytes<512> kIq2XsBytes;
extern const std::array<std::int8_t, 4> kIq2Sizes;  // the last one is none

// Seven sign bits with an eighth that makes their number even.
extern const std::array<std::uint8_t, 128> kEvenSigns;

extern const PointWords<256> kIq3XxsWords;
extern const PointWords<512> kIq3SWords;
extern const PointBytes<256> kIq3XxsBytes;
extern const PointBytes<512> kIq3SBytes;
extern const std::array<std::int8_t, 16> kIq3XxsSizes;

}  // namespace doppler
