// The formats that pick points from codebooks: ggml's IQ1, IQ2 and IQ3.

#include "backend/block_layout.h"
#include "backend/iq_tables.h"
#include "backend/unpack_blocks.h"

namespace doppler::unpack {
namespace {

// A point with the signs of its values: bit i set makes value i negative.
template <std::size_t kSize>
void Place(const std::array<std::int8_t, kSize>& point, unsigned signs, std::int8_t* values) {
  for (unsigned i = 0; i < kSize; ++i) {
    const int sign = -static_cast<int>((signs >> i) & 1u);
    values[i] = static_cast<std::int8_t>((point[i] ^ sign) - sign);
  }
}

// Two points of four.
template <class Book>
void PlaceTwo(const Book& book, unsigned first, unsigned second, unsigned signs,
              std::int8_t* values) {
  Place(book[first], signs, values);
  Place(book[second], signs >> 4, values + 4);
}

// The scales of 16 values each that iq2_xs and iq2_s keep in a byte.
void SetHalfScales(const UnpackedBlock& out, int run, float scale, unsigned packed) {
  out.scales[2 * run] = scale * (0.5f + static_cast<float>(packed & 15u)) * 0.25f;
  out.scales[2 * run + 1] = scale * (0.5f + static_cast<float>(packed >> 4)) * 0.25f;
}

// A point of the ternary codebook, moved by an eighth up or down: all in eighths.
void PlaceMoved(unsigned index, bool down, std::int8_t* values) {
  const int move = down ? -1 : 1;
  for (unsigned i = 0; i < 8; ++i) {
    values[i] = static_cast<std::int8_t>(kIq1Points[index][i] + move);
  }
}

float OddScale(float scale, unsigned bits) { return scale * static_cast<float>(2 * bits + 1); }

}  // namespace

void Iq3Xxs(const Byte* block, const UnpackedBlock& out) {
  using L = Iq3XxsLayout;
  const float scale = LoadFp16(block + L::kScale);
  for (int run = 0; run < 8; ++run) {
    const auto word = Load<std::uint32_t>(block + L::kSigns + 4 * run);
    SetScale32(out, run, scale * (0.5f + static_cast<float>(word >> 28)) * 0.5f);
    for (int eight = 0; eight < 4; ++eight) {
      const Byte* index = block + L::kPoints + 8 * run + 2 * eight;
      PlaceTwo(kIq3XxsPoints, index[0], index[1], kEvenSigns[(word >> (7 * eight)) & 127u],
               out.values + 32 * run + 8 * eight);
    }
  }
}

void Iq3S(const Byte* block, const UnpackedBlock& out) {
  using L = Iq3SLayout;
  const float scale = LoadFp16(block + L::kScale);
  for (int run = 0; run < 8; ++run) {
    const unsigned sub_scale = (unsigned{block[L::kSubScales + run / 2]} >> (4 * (run % 2))) & 15u;
    SetScale32(out, run, OddScale(scale, sub_scale));
    const unsigned high = block[L::kHighBits + run];
    for (int eight = 0; eight < 4; ++eight) {
      const Byte* low = block + L::kPoints + 8 * run + 2 * eight;
      const unsigned bits = high >> (2 * eight);
      PlaceTwo(kIq3SPoints, low[0] | ((bits & 1u) << 8), low[1] | ((bits & 2u) << 7),
               block[L::kSigns + 4 * run + eight], out.values + 32 * run + 8 * eight);
    }
  }
}

void Iq2Xxs(const Byte* block, const UnpackedBlock& out) {
  using L = Iq2XxsLayout;
  const float scale = LoadFp16(block + L::kScale);
  for (int run = 0; run < 8; ++run) {
    const Byte* points = block + L::kPoints + 8 * run;
    const auto word = Load<std::uint32_t>(points + 4);
    SetScale32(out, run, scale * (0.5f + static_cast<float>(word >> 28)) * 0.25f);
    for (int eight = 0; eight < 4; ++eight) {
      Place(kIq2XxsPoints[points[eight]], kEvenSigns[(word >> (7 * eight)) & 127u],
            out.values + 32 * run + 8 * eight);
    }
  }
}

void Iq2Xs(const Byte* block, const UnpackedBlock& out) {
  using L = Iq2XsLayout;
  const float scale = LoadFp16(block + L::kScale);
  for (int run = 0; run < 8; ++run) {
    SetHalfScales(out, run, scale, block[L::kSubScales + run]);
    for (int eight = 0; eight < 4; ++eight) {
      const unsigned word = Load<std::uint16_t>(block + L::kPoints + 8 * run + 2 * eight);
      Place(kIq2XsPoints[word & 511u], kEvenSigns[word >> 9], out.values + 32 * run + 8 * eight);
    }
  }
}

void Iq2S(const Byte* block, const UnpackedBlock& out) {
  using L = Iq2SLayout;
  const float scale = LoadFp16(block + L::kScale);
  for (int run = 0; run < 8; ++run) {
    SetHalfScales(out, run, scale, block[L::kSubScales + run]);
    const unsigned high = block[L::kHighBits + run];
    for (int eight = 0; eight < 4; ++eight) {
      const unsigned index =
          block[L::kPoints + 4 * run + eight] | (((high >> (2 * eight)) & 3u) << 8);
      Place(kIq2SPoints[index], block[L::kSigns + 4 * run + eight],
            out.values + 32 * run + 8 * eight);
    }
  }
}

void Iq1S(const Byte* block, const UnpackedBlock& out) {
  using L = Iq1SLayout;
  const float scale = LoadFp16(block + L::kScale);
  for (int run = 0; run < 8; ++run) {
    const unsigned high = Load<std::uint16_t>(block + L::kHighBits + 2 * run);
    SetScale32(out, run, OddScale(scale, (high >> 12) & 7u) * 0.125f);
    for (int eight = 0; eight < 4; ++eight) {
      const unsigned index =
          block[L::kPoints + 4 * run + eight] | (((high >> (3 * eight)) & 7u) << 8);
      PlaceMoved(index, (high & 0x8000u) != 0, out.values + 32 * run + 8 * eight);
    }
  }
}

void Iq1M(const Byte* block, const UnpackedBlock& out) {
  using L = Iq1MLayout;
  unsigned scale_bits = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned word = Load<std::uint16_t>(block + L::kSubScales + 2 * i);
    scale_bits |= (word >> 12) << (4 * i);
  }
  const float scale = Fp16ToFloat(static_cast<std::uint16_t>(scale_bits));
  for (int sub = 0; sub < 16; ++sub) {
    const unsigned word = Load<std::uint16_t>(block + L::kSubScales + 2 * (sub / 4));
    out.scales[sub] = OddScale(scale, (word >> (3 * (sub % 4))) & 7u) * 0.125f;
    const unsigned high = block[L::kHighBits + sub];
    for (int eight = 0; eight < 2; ++eight) {
      const unsigned bits = high >> (4 * eight);
      const unsigned index = block[L::kPoints + 2 * sub + eight] | ((bits & 7u) << 8);
      PlaceMoved(index, (bits & 8u) != 0, out.values + 16 * sub + 8 * eight);
    }
  }
}

}  // namespace doppler::unpack
