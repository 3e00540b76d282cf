#include "backend/unpack.h"

#include "backend/block_layout.h"
#include "backend/dtype.h"
#include "backend/levels.h"
#include "backend/unpack_blocks.h"
#include "base/float8.h"

namespace doppler {
namespace unpack {
namespace {

std::int8_t Small(int value) { return static_cast<std::int8_t>(value); }

// Nibbles of 16 bytes through `map`: value i low, value i + 16 high.
template <typename Map>
void Nibbles(const Byte* from, std::int8_t* values, const Map& map) {
  for (int i = 0; i < 16; ++i) {
    values[i] = Small(map(from[i] & 15));
    values[i + 16] = Small(map(from[i] >> 4));
  }
}

// Five bits: nibbles and 32 high bits.
void FiveBits(const Byte* nibbles, const Byte* high_bits, int zero, std::int8_t* values) {
  const auto high = Load<std::uint32_t>(high_bits);
  for (unsigned i = 0; i < 16; ++i) {
    const unsigned low_bit = ((high >> i) & 1u) << 4;
    const unsigned high_bit = ((high >> (i + 16)) & 1u) << 4;
    values[i] = Small(static_cast<int>((nibbles[i] & 15u) | low_bit) - zero);
    values[i + 16] = Small(static_cast<int>((unsigned{nibbles[i]} >> 4) | high_bit) - zero);
  }
}

void SetOffsets(const UnpackedBlock& out, float offset) {
  out.offsets[0] = offset;
  out.offsets[1] = offset;
}

}  // namespace

void Q41(const Byte* block, const UnpackedBlock& out) {
  using L = Q41Layout;
  SetScale32(out, 0, LoadFp16(block + L::kScale));
  SetOffsets(out, LoadFp16(block + L::kMinimum));
  Nibbles(block + L::kNibbles, out.values, [](int q) { return q; });
}

void Q50(const Byte* block, const UnpackedBlock& out) {
  using L = Q50Layout;
  SetScale32(out, 0, LoadFp16(block + L::kScale));
  FiveBits(block + L::kNibbles, block + L::kHighBits, 16, out.values);
}

void Q51(const Byte* block, const UnpackedBlock& out) {
  using L = Q51Layout;
  SetScale32(out, 0, LoadFp16(block + L::kScale));
  SetOffsets(out, LoadFp16(block + L::kMinimum));
  FiveBits(block + L::kNibbles, block + L::kHighBits, 0, out.values);
}

void Q2K(const Byte* block, const UnpackedBlock& out) {
  using L = Q2KLayout;
  const float scale = LoadFp16(block + L::kScale);
  const float minimum = LoadFp16(block + L::kMinimum);
  for (int sub = 0; sub < 16; ++sub) {
    const int factors = block[L::kSubScales + sub];
    out.scales[sub] = scale * static_cast<float>(factors & 15);
    out.offsets[sub] = -(minimum * static_cast<float>(factors >> 4));
  }
  for (int run = 0; run < 8; ++run) {
    const Byte* bits = block + L::kBits + 32 * (run / 4);
    const int shift = 2 * (run % 4);
    for (int i = 0; i < 32; ++i) out.values[32 * run + i] = Small((bits[i] >> shift) & 3);
  }
}

void Q3K(const Byte* block, const UnpackedBlock& out) {
  using L = Q3KLayout;
  const float scale = LoadFp16(block + L::kScale);
  const Byte* packed = block + L::kSubScales;
  for (int sub = 0; sub < 16; ++sub) {
    const int low = (packed[sub % 8] >> (sub < 8 ? 0 : 4)) & 15;
    const int high = (packed[8 + sub % 4] >> (2 * (sub / 4))) & 3;
    out.scales[sub] = scale * static_cast<float>((low | (high << 4)) - 32);
  }
  for (int run = 0; run < 8; ++run) {
    const Byte* bits = block + L::kBits + 32 * (run / 4);
    const int shift = 2 * (run % 4);
    for (int i = 0; i < 32; ++i) {
      const int high = (block[L::kHighBits + i] >> run) & 1;
      out.values[32 * run + i] = Small((((bits[i] >> shift) & 3) | (high << 2)) - 4);
    }
  }
}

void Iq4Nl(const Byte* block, const UnpackedBlock& out) {
  using L = Iq4NlLayout;
  SetScale32(out, 0, LoadFp16(block + L::kScale));
  Nibbles(block + L::kNibbles, out.values, [](int q) { return kIq4Levels[q]; });
}

void Iq4Xs(const Byte* block, const UnpackedBlock& out) {
  using L = Iq4XsLayout;
  const float scale = LoadFp16(block + L::kScale);
  const int high_scales = Load<std::uint16_t>(block + L::kHighScales);
  for (int run = 0; run < 8; ++run) {
    const int low = (block[L::kLowScales + run / 2] >> (4 * (run % 2))) & 15;
    const int high = (high_scales >> (2 * run)) & 3;
    SetScale32(out, run, scale * static_cast<float>((low | (high << 4)) - 32));
    Nibbles(block + L::kNibbles + 16 * run, out.values + 32 * run,
            [](int q) { return kIq4Levels[q]; });
  }
}

void Mxfp4(const Byte* block, const UnpackedBlock& out) {
  using L = Mxfp4Layout;
  SetScale32(out, 0, HalfE8M0ToFloat(block[L::kExponent]));
  Nibbles(block + L::kNibbles, out.values, [](int q) { return kFp4Levels[q]; });
}

void Int4G32(const Byte* block, const UnpackedBlock& out) {
  using L = Int4G32Layout;
  SetScale32(out, 0, Bf16ToFloat(Load<std::uint16_t>(block + L::kScale)));
  Nibbles(block + L::kNibbles, out.values, [](int q) { return q - 8; });
}

}  // namespace unpack

const Unpacker* UnpackerOf(DType dtype) {
  static constexpr auto kUnpackers = [] {
    std::array<Unpacker, kDTypes.size()> all{};
    const auto set = [&all](DType type, auto function, bool has_offsets = false) {
      const DTypeTraits& traits = Traits(type);
      all[static_cast<std::size_t>(type)] = {function, traits.block_elements, traits.block_bytes,
                                             has_offsets};
    };
    set(DType::kQ4_1, unpack::Q41, true);
    set(DType::kQ5_0, unpack::Q50);
    set(DType::kQ5_1, unpack::Q51, true);
    set(DType::kQ2_K, unpack::Q2K, true);
    set(DType::kQ3_K, unpack::Q3K);
    set(DType::kIQ4_NL, unpack::Iq4Nl);
    set(DType::kIQ4_XS, unpack::Iq4Xs);
    set(DType::kMxfp4, unpack::Mxfp4);
    set(DType::kInt4G32, unpack::Int4G32);
    set(DType::kIQ3_XXS, unpack::Iq3Xxs);
    set(DType::kIQ3_S, unpack::Iq3S);
    set(DType::kIQ2_XXS, unpack::Iq2Xxs);
    set(DType::kIQ2_XS, unpack::Iq2Xs);
    set(DType::kIQ2_S, unpack::Iq2S);
    set(DType::kIQ1_S, unpack::Iq1S);
    set(DType::kIQ1_M, unpack::Iq1M);
    return all;
  }();
  const Unpacker& found = kUnpackers[static_cast<std::size_t>(dtype)];
  return found.unpack != nullptr ? &found : nullptr;
}

}  // namespace doppler
