#include "backend/row_groups.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "backend/block_layout.h"
#include "base/error.h"

namespace doppler {
namespace {

constexpr int kWord = 4;
constexpr int kHalf = 2;

constexpr std::array<GroupPart, 2> kScaleAndValues = {
    {{Q80Layout::kScale, 2, kHalf}, {Q80Layout::kValues, 32, kWord}}};
constexpr std::array<GroupPart, 2> kScaleAndNibbles = {
    {{Q40Layout::kScale, 2, kHalf}, {Q40Layout::kNibbles, 16, kWord}}};
constexpr std::array<GroupPart, 2> kExponentAndNibbles = {
    {{Mxfp4Layout::kExponent, 1, 1}, {Mxfp4Layout::kNibbles, 16, kWord}}};
constexpr std::array<GroupPart, 4> kQ4KParts = {{{Q4KLayout::kScale, 2, kHalf},
                                                 {Q4KLayout::kMinimum, 2, kHalf},
                                                 {Q4KLayout::kSubScales, 12, kWord},
                                                 {Q4KLayout::kNibbles, 128, kWord}}};
constexpr std::array<GroupPart, 5> kQ5KParts = {{{Q5KLayout::kScale, 2, kHalf},
                                                 {Q5KLayout::kMinimum, 2, kHalf},
                                                 {Q5KLayout::kSubScales, 12, kWord},
                                                 {Q5KLayout::kHighBits, 32, kWord},
                                                 {Q5KLayout::kNibbles, 128, kWord}}};
constexpr std::array<GroupPart, 4> kQ6KParts = {{{Q6KLayout::kNibbles, 128, kWord},
                                                 {Q6KLayout::kHighBits, 64, kWord},
                                                 {Q6KLayout::kSubScales, 16, 1},
                                                 {Q6KLayout::kScale, 2, kHalf}}};

// See Q6KGroupLayout.
consteval std::array<GroupPart, 50> MakeQ6KSteps() {
  std::array<GroupPart, 50> parts = {
      {{Q6KLayout::kSubScales, 16, 1}, {Q6KLayout::kScale, 2, kHalf}}};
  std::size_t count = 2;
  for (int step = 0; step < 4; ++step) {
    const int nibbles = Q6KLayout::kNibbles + 64 * (step / 2) + 16 * (step % 2);
    const int high_bits = Q6KLayout::kHighBits + 16 * step;
    for (int at = 0; at < 16; at += kWord) {
      for (const int offset : {nibbles + at, nibbles + 32 + at, high_bits + at}) {
        parts[count++] = {offset, kWord, kWord};
      }
    }
  }
  return parts;
}
constexpr std::array<GroupPart, 50> kQ6KSteps = MakeQ6KSteps();

// A chunk of a group, and where the units of its rows are.
class Chunk {
 public:
  Chunk(DType dtype, WeightLayout layout, int cols, int begin)
      : parts_(GroupParts(dtype, layout)),
        block_bytes_(Traits(dtype).block_bytes),
        first_block_(begin / Traits(dtype).block_elements),
        blocks_(std::min(kGroupChunk, cols - begin) / Traits(dtype).block_elements) {}

  int blocks() const { return blocks_; }

  // Calls use(part, in_group) for each part, with the offset in the group of its first unit of one
  // row from `block` on. The next units, and those of the next blocks, follow kGroupRows *
  // part.unit bytes apart.
  template <class Use>
  void ForEachPart(int row, int block, const Use& use) const {
    int start = kGroupRows * first_block_ * block_bytes_;
    for (const GroupPart& part : parts_) {
      const int in_group = start + kGroupRows * block * part.bytes + row * part.unit;
      use(part, static_cast<std::size_t>(in_group));
      start += kGroupRows * blocks_ * part.bytes;
    }
  }

 private:
  std::span<const GroupPart> parts_;
  int block_bytes_;
  int first_block_;
  int blocks_;
};

// Calls use(part, blocks, in_group, in_rows) for each part of as many blocks of a row as a chunk
// has.
template <class Use>
void ForEachPart(DType dtype, WeightLayout layout, int cols, const Use& use) {
  const std::size_t row_bytes = *RowBytes(dtype, static_cast<std::uint64_t>(cols));
  std::size_t in_row = 0;
  for (int begin = 0; begin < cols; begin += kGroupChunk) {
    const Chunk chunk(dtype, layout, cols, begin);
    for (int row = 0; row < kGroupRows; ++row) {
      const std::size_t in_rows = static_cast<std::size_t>(row) * row_bytes + in_row;
      chunk.ForEachPart(row, 0, [&](const GroupPart& part, std::size_t in_group) {
        use(part, chunk.blocks(), in_group, in_rows + static_cast<std::size_t>(part.offset));
      });
    }
    in_row += static_cast<std::size_t>(chunk.blocks() * Traits(dtype).block_bytes);
  }
}

void CheckGroup(DType dtype, WeightLayout layout, int cols, std::span<const std::byte> a,
                std::span<const std::byte> b) {
  const auto row_bytes = RowBytes(dtype, static_cast<std::uint64_t>(cols));
  DOPPLER_CHECK(CanGroupRows(dtype, kGroupRows, layout) && row_bytes.has_value());
  DOPPLER_CHECK(a.size() == kGroupRows * *row_bytes && b.size() == a.size());
}

// Calls copy(unit, in_blocks, in_group) for each unit of a part of some blocks of a row, with
// offsets from the first. The unit's size is a constant, so that it is one load and one store.
template <class Copy>
void ForEachUnit(DType dtype, const GroupPart& part, int blocks, const Copy& copy) {
  const auto block_bytes = static_cast<std::size_t>(Traits(dtype).block_bytes);
  const auto end = static_cast<std::size_t>(blocks) * block_bytes;
  const auto part_bytes = static_cast<std::size_t>(part.bytes);
  const auto each = [&](auto unit) {
    std::size_t in_group = 0;
    for (std::size_t block = 0; block < end; block += block_bytes) {
      for (std::size_t at = 0; at < part_bytes; at += unit) {
        copy(unit, block + at, in_group);
        in_group += kGroupRows * unit;
      }
    }
  };
  if (part.unit == kWord) return each(std::integral_constant<std::size_t, kWord>());
  if (part.unit == kHalf) return each(std::integral_constant<std::size_t, kHalf>());
  each(std::integral_constant<std::size_t, 1>());
}

void Gather(DType dtype, const GroupPart& part, int blocks, const std::byte* group,
            std::byte* row) {
  ForEachUnit(dtype, part, blocks, [&](auto unit, std::size_t in_blocks, std::size_t in_group) {
    std::memcpy(row + in_blocks, group + in_group, unit);
  });
}

}  // namespace

std::span<const GroupPart> GroupParts(DType dtype, WeightLayout layout) {
  if (layout == WeightLayout::kRows16Steps && dtype == DType::kQ6_K) return kQ6KSteps;
  if (layout != WeightLayout::kRows16) return {};
  switch (dtype) {
    case DType::kQ8_0:
      return kScaleAndValues;
    case DType::kQ4_0:
    case DType::kIQ4_NL:
    case DType::kInt4G32:
      return kScaleAndNibbles;
    case DType::kMxfp4:
      return kExponentAndNibbles;
    case DType::kQ4_K:
      return kQ4KParts;
    case DType::kQ5_K:
      return kQ5KParts;
    case DType::kQ6_K:
      return kQ6KParts;
    default:
      return {};
  }
}

bool CanGroupRows(DType dtype, std::int64_t rows, WeightLayout layout) {
  return rows % kGroupRows == 0 && !GroupParts(dtype, layout).empty();
}

bool CanGroupRows(DType dtype, std::int64_t rows) {
  return CanGroupRows(dtype, rows, GroupLayoutOf(dtype));
}

void GroupRows(DType dtype, WeightLayout layout, int cols, std::span<const std::byte> rows,
               std::span<std::byte> group) {
  CheckGroup(dtype, layout, cols, rows, group);
  ForEachPart(dtype, layout, cols,
              [&](const GroupPart& part, int blocks, std::size_t in_group, std::size_t in_rows) {
                std::byte* const to = group.data() + in_group;
                const std::byte* const from = rows.data() + in_rows;
                ForEachUnit(dtype, part, blocks,
                            [&](auto unit, std::size_t in_blocks, std::size_t at) {
                              std::memcpy(to + at, from + in_blocks, unit);
                            });
              });
}

void UngroupRows(DType dtype, WeightLayout layout, int cols, std::span<const std::byte> group,
                 std::span<std::byte> rows) {
  CheckGroup(dtype, layout, cols, group, rows);
  ForEachPart(dtype, layout, cols,
              [&](const GroupPart& part, int blocks, std::size_t in_group, std::size_t in_rows) {
                Gather(dtype, part, blocks, group.data() + in_group, rows.data() + in_rows);
              });
}

void CopyBlocksOfRow(DType dtype, WeightLayout layout, int cols, std::span<const std::byte> group,
                     int row, int begin, int count, std::span<std::byte> out) {
  const int block_elements = Traits(dtype).block_elements;
  const int chunk_begin = begin / kGroupChunk * kGroupChunk;
  DOPPLER_CHECK(begin + count <= std::min(cols, chunk_begin + kGroupChunk));
  DOPPLER_CHECK(out.size() == *RowBytes(dtype, static_cast<std::uint64_t>(count)));
  const Chunk chunk(dtype, layout, cols, chunk_begin);
  chunk.ForEachPart(row, (begin - chunk_begin) / block_elements,
                    [&](const GroupPart& part, std::size_t in_group) {
                      Gather(dtype, part, count / block_elements, group.data() + in_group,
                             out.data() + part.offset);
                    });
}

}  // namespace doppler
