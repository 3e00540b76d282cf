// Quantised weights as tiles of bf16. Only amx_bf16_product.h includes this.
//
// A tile has 32 columns of sixteen rows. Each of its sixteen words has two weights of each row:
// bytes 0 and 2 of the run's word i, then bytes 1 and 3, since these lie in one half of a panel's
// words. Activations have that order, too.
//
// Weights are scaled in f16, whose upper bits are those of bf16 but for the bias of the exponent:
// it stays as it is, which makes a weight 2^-112 of what it is. Before that the weights of a row
// are multiplied by a power of two, so that they fit into f16. That power follows from the row's
// first chunk, and becomes less where a later one has larger weights.
#pragma once

#include <immintrin.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/avx512_panel.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

constexpr int kHalfTileCols = 32;
constexpr int kHalfTileWords = 16;
constexpr int kTilesOfChunk = kChunk / kHalfTileCols;
using HalfTile = __m512i[kHalfTileWords];

// The upper bits of f16 numbers, rounded, as bf16 numbers that are 2^-112 of them.
__m512i UpperHalves(__m512i f16) {
  const __m512i rounded = _mm512_mulhrs_epi16(f16, _mm512_set1_epi16(4096));
  return _mm512_and_si512(rounded, _mm512_set1_epi16(static_cast<short>(0x8fff)));
}

// Each of sixteen numbers twice, as f16.
__m512i TwiceAsFp16(__m512 numbers) {
  const __m512i words = _mm512_cvtepu16_epi32(
      _mm512_cvtps_ph(numbers, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  return _mm512_or_si512(words, _mm512_slli_epi32(words, 16));
}

// Scales and offsets of a run of sixteen rows, in f16, each twice.
template <class Format, class Halves>
struct RunScaling {
  // f16 numbers, scaled and moved.
  __m512i Apply(__m512i f16) const {
    if constexpr (Format::kHasOffsets) {
      return UpperHalves(Halves::MultiplyAdd(f16, scales, offsets));
    }
    return UpperHalves(Halves::Multiply(f16, scales));
  }

  __m512i scales;
  __m512i offsets;
};

// What a weight of 1 is before it is scaled: bytes are read as the upper halves of words.
constexpr float kUnit = 256;

// Four signed bytes of each row in a word: two words of halves.
template <class Halves, class Scaling>
void ConvertBytes(__m512i four, const Scaling& scaling, __m512i* words) {
  const __m512i even = _mm512_slli_epi16(four, 8);
  const __m512i odd = _mm512_and_si512(four, _mm512_set1_epi16(static_cast<short>(0xff00)));
  words[0] = scaling.Apply(Halves::FromInts(even));
  words[1] = scaling.Apply(Halves::FromInts(odd));
}

// Groups of sixteen rows of which tiles are read without a panel in between:
//   LoadTile<Halves>(chunk, runs, lane, scaling, tile)   the lane's 32 columns
template <class Format>
struct HalfTileOfGroup {
  static constexpr bool kExists = false;
};

// What nibbles stand for, in f16, twice: a word is looked up by its five lowest bits.
template <class Halves>
__m512i LevelsAsFp16(const signed char* levels) {
  const __m256i whole = _mm256_slli_epi16(_mm256_cvtepi8_epi16(Load16(levels)), 8);
  return Halves::FromInts(_mm512_broadcast_i64x4(whole));
}

constexpr signed char kWholeLevels[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
constexpr signed char kLevelsAroundZero[16] = {-8, -7, -6, -5, -4, -3, -2, -1,
                                               0,  1,  2,  3,  4,  5,  6,  7};

// Nibbles of four bytes of each row in a word, low or high ones: two words of halves.
template <int kShift, class Scaling>
void ConvertNibbles(__m512i four, __m512i levels, const Scaling& scaling, __m512i* words) {
  words[0] = scaling.Apply(_mm512_permutexvar_epi16(_mm512_srli_epi16(four, kShift), levels));
  words[1] = scaling.Apply(_mm512_permutexvar_epi16(_mm512_srli_epi16(four, kShift + 8), levels));
}

template <>
struct HalfTileOfGroup<Q4K> {
  static constexpr bool kExists = true;
  template <class Halves, class Scaling>
  static void LoadTile(const Byte* chunk, int, int lane, const Scaling& scaling, HalfTile& tile) {
    const Byte* nibbles = chunk + AtOfGroup(Q4KLayout::kNibbles + 32 * (lane / 2));
    const __m512i levels = LevelsAsFp16<Halves>(kWholeLevels);
    for (int i = 0; i < 8; ++i) {
      const __m512i four = Load64(nibbles + 64 * i);
      if (lane % 2 == 0) {
        ConvertNibbles<0>(four, levels, scaling, tile + 2 * i);
      } else {
        ConvertNibbles<4>(four, levels, scaling, tile + 2 * i);
      }
    }
  }
};

// Blocks whose nibbles are a run's first values, low ones, and its others.
template <class Format, const signed char* kLevels>
struct HalfTileOfNibbles {
  static constexpr bool kExists = true;
  template <class Halves, class Scaling>
  static void LoadTile(const Byte* chunk, int runs, int lane, const Scaling& scaling,
                       HalfTile& tile) {
    const Byte* nibbles = Grouped<Format>::ValuesOf(chunk, runs, lane);
    const __m512i levels = LevelsAsFp16<Halves>(kLevels);
    for (int i = 0; i < 4; ++i) {
      const __m512i four = Load64(nibbles + 64 * i);
      ConvertNibbles<0>(four, levels, scaling, tile + 2 * i);
      ConvertNibbles<4>(four, levels, scaling, tile + 2 * i + 8);
    }
  }
};
template <>
struct HalfTileOfGroup<Q40> : HalfTileOfNibbles<Q40, kLevelsAroundZero> {};
template <>
struct HalfTileOfGroup<Int4G32> : HalfTileOfNibbles<Int4G32, kLevelsAroundZero> {};
template <>
struct HalfTileOfGroup<Iq4Nl> : HalfTileOfNibbles<Iq4Nl, kIq4Levels> {};
template <>
struct HalfTileOfGroup<Mxfp4> : HalfTileOfNibbles<Mxfp4, kFp4Levels> {};

template <>
struct HalfTileOfGroup<Q80> {
  static constexpr bool kExists = true;
  template <class Halves, class Scaling>
  static void LoadTile(const Byte* chunk, int runs, int lane, const Scaling& scaling,
                       HalfTile& tile) {
    const Byte* values = Grouped<Q80>::ValuesOf(chunk, runs, lane);
    for (int i = 0; i < 8; ++i) {
      ConvertBytes<Halves>(Load64(values + 64 * i), scaling, tile + 2 * i);
    }
  }
};

// The tiles of one or two panels of sixteen rows, side by side.
//
// Halves is a struct of an unnamed namespace, of f16 numbers, 32 in a register: Multiply(a, b),
// MultiplyAdd(a, b, c), FromInts(whole numbers of 16 bits).
template <class Format, class Halves>
class HalfTileWeights {
 public:
  using Of = Panels<Format>;
  static constexpr int kRows = Of::kRows;
  static constexpr int kMostPanels = 2;
  // Changes are known of as many chunks.
  static constexpr int kChunksOfBand = 8;

  HalfTileWeights(const MatMulTile& tile, int row, int panels)
      : tile_(tile), row_(row), panels_(panels) {}

  int panels() const { return panels_; }
  int chunks() const { return (tile_.cols + kChunk - 1) / kChunk; }

  // The next 32 columns of all panels; nothing after the last ones.
  [[gnu::always_inline]] void Next(HalfTile (&tiles)[kMostPanels]) {
    if (chunk_ == chunks()) return;
    if (at_ == 0) {
      for (int panel = 0; panel < panels_; ++panel) Begin(panel);
    }
    for (int panel = 0; panel < panels_; ++panel) {
      Fetch(panel);
      Convert(panel, tiles[panel]);
    }
    if (++at_ < runs_ / kRunsOfTile) return;
    at_ = 0;
    ++chunk_;
  }

  // What the sums of the rows of a panel are to be multiplied by before the chunk's products are
  // added; null if nothing changes.
  const __m512* ChangeAt(int chunk, int panel) const {
    return has_changed_[chunk % kChunksOfBand][panel] ? &changes_[chunk % kChunksOfBand][panel]
                                                      : nullptr;
  }

  // What sums of products are to be multiplied by in the end, if activations are.
  __m512 FactorsOfSums(int panel, float of_activations) const {
    const __m512 weights = _mm512_mul_ps(factors_[panel], _mm512_set1_ps(of_activations));
    return _mm512_div_ps(_mm512_set1_ps(0x1p112f), weights);
  }

 private:
  static constexpr int kRunsOfTile = kHalfTileCols / Format::kRun;
  // The largest weights of a row's first chunk become about 2^12, and those of others less than the
  // limit.
  static constexpr float kSize = 12;
  static constexpr float kLimit = 0x1p15f;

  using Heads = __m512[Of::kLanes];

  bool direct() const { return HalfTileOfGroup<Format>::kExists && tile_.grouped; }

  const Byte* ChunkOf(int chunk, int panel) const {
    const std::size_t row = static_cast<std::size_t>(row_ + panel * kRows) * tile_.row_bytes;
    return tile_.weights + row + static_cast<std::ptrdiff_t>(chunk) * ChunkStep<Format>(tile_);
  }

  // Scales and offsets, and of what is not read directly the values.
  void Begin(int panel) {
    runs_ = RunsAt<Format>(tile_, chunk_ * kChunk);
    Heads scales;
    Heads offsets;
    if (direct()) {
      if constexpr (Grouped<Format>::kExists) {
        Grouped<Format>::LoadHeads(ChunkOf(chunk_, panel), runs_, scales, offsets);
      }
    } else {
      Unpack(panel, scales, offsets);
    }
    SetFactors(panel, scales, offsets);
    const __m512 factors = factors_[panel];
    const __m512 of_units = _mm512_mul_ps(factors, _mm512_set1_ps(1 / kUnit));
    for (int lane = 0; lane < runs_; ++lane) {
      auto& scaling = scaling_[panel][lane];
      scaling.scales = TwiceAsFp16(_mm512_mul_ps(scales[lane], of_units));
      if constexpr (Format::kHasOffsets) {
        scaling.offsets = TwiceAsFp16(_mm512_mul_ps(offsets[lane], factors));
      }
    }
  }

  void Unpack(int panel, Heads& scales, Heads& offsets) {
    const typename Of::Part part{.rows = {.bytes = ChunkOf(chunk_, panel),
                                          .row_bytes = tile_.row_bytes,
                                          .grouped = tile_.grouped,
                                          .runs = runs_},
                                 .index = panel,
                                 .panel = unpacked_};
    Of::Unpack(part);
    for (int lane = 0; lane < runs_; ++lane) {
      scales[lane] = part.RunOf(lane).scales;
      if constexpr (Format::kHasOffsets) offsets[lane] = part.RunOf(lane).offsets;
    }
  }

  // A share of the panel's next chunk, or of the first one of the panel that takes its place.
  [[gnu::always_inline]] void Fetch(int panel) const {
    const bool last = chunk_ + 1 == chunks();
    const int next_panel = last ? panel + panels_ : panel;
    if (row_ + (next_panel + 1) * kRows > tile_.rows) return;
    const Byte* next = ChunkOf(last ? 0 : chunk_ + 1, next_panel);
    constexpr int kShare = kRows / kTilesOfChunk;
    if (tile_.grouped) {
      constexpr int kBytes = kShare * Format::kChunkBytes;
      return FetchAhead<kSecondLevel>(next + kBytes * at_, kBytes);
    }
    for (int r = kShare * at_; r < kShare * (at_ + 1); ++r) {
      FetchAhead<kSecondLevel>(next + static_cast<std::size_t>(r) * tile_.row_bytes,
                               Format::kChunkBytes);
    }
  }

  void SetFactors(int panel, const Heads& scales, const Heads& offsets) {
    __m512 largest = _mm512_set1_ps(0x1p-100f);
    for (int lane = 0; lane < runs_; ++lane) {
      __m512 size = _mm512_mul_ps(_mm512_abs_ps(scales[lane]), _mm512_set1_ps(128));
      if constexpr (Format::kHasOffsets) size = _mm512_add_ps(size, _mm512_abs_ps(offsets[lane]));
      largest = _mm512_max_ps(largest, size);
    }
    const __m512 wanted = _mm512_scalef_ps(
        _mm512_set1_ps(1), _mm512_sub_ps(_mm512_set1_ps(kSize), _mm512_getexp_ps(largest)));
    const int place = chunk_ % kChunksOfBand;
    has_changed_[place][panel] = false;
    if (chunk_ == 0) {
      factors_[panel] = wanted;
      return;
    }
    const __m512 before = factors_[panel];
    const __mmask16 too_large =
        _mm512_cmp_ps_mask(_mm512_mul_ps(largest, before), _mm512_set1_ps(kLimit), _CMP_GE_OQ);
    if (too_large == 0) return;
    factors_[panel] = _mm512_mask_mov_ps(before, too_large, wanted);
    has_changed_[place][panel] = true;
    changes_[place][panel] = _mm512_div_ps(factors_[panel], before);
  }

  [[gnu::always_inline]] void Convert(int panel, HalfTile& tile) const {
    if (direct()) {
      if constexpr (HalfTileOfGroup<Format>::kExists) {
        HalfTileOfGroup<Format>::template LoadTile<Halves>(ChunkOf(chunk_, panel), runs_, at_,
                                                           scaling_[panel][at_], tile);
      }
      return;
    }
    for (int r = 0; r < kRunsOfTile; ++r) {
      const int lane = at_ * kRunsOfTile + r;
      const auto& run = unpacked_.runs[lane][panel];
      for (int i = 0; i < Of::kWords; ++i) {
        ConvertBytes<Halves>(run.words[i], scaling_[panel][lane], tile + 2 * (r * Of::kWords + i));
      }
    }
  }

  const MatMulTile& tile_;
  int row_;
  int panels_;
  int chunk_ = 0;
  int at_ = 0;    // tile of the chunk
  int runs_ = 0;  // of the chunk
  __m512 factors_[kMostPanels];
  bool has_changed_[kChunksOfBand][kMostPanels] = {};
  __m512 changes_[kChunksOfBand][kMostPanels];
  // Of the current chunk.
  RunScaling<Format, Halves> scaling_[kMostPanels][Of::kLanes];
  typename Of::Panel unpacked_;  // a panel of weights is a chunk of it
};

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
