#include "backend/row_groups.h"

#include <algorithm>
#include <array>
#include <cstring>

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

// A chunk of a group, and where the units of its rows are.
class Chunk {
 public:
  Chunk(DType dtype, int cols, int begin)
      : parts_(GroupParts(dtype)),
        block_bytes_(Traits(dtype).block_bytes),
        first_block_(begin / Traits(dtype).block_elements),
        blocks_(std::min(kGroupChunk, cols - begin) / Traits(dtype).block_elements) {}

  int blocks() const { return blocks_; }

  // Calls use(part, in_group) for each part of a block of one row, with the offset of its first
  // unit in the group. Its units are kGroupRows * part.unit bytes apart there.
  template <class Use>
  void ForEachPart(int block, int row, const Use& use) const {
    const int start = kGroupRows * first_block_ * block_bytes_;
    for (const GroupPart& part : parts_) {
      const int of_block = start + kGroupRows * (blocks_ * part.offset + block * part.bytes);
      use(part, static_cast<std::size_t>(of_block + row * part.unit));
    }
  }

 private:
  std::span<const GroupPart> parts_;
  int block_bytes_;
  int first_block_;
  int blocks_;
};

// Calls use(part, in_group, in_rows) for each part of each block of a group.
template <class Use>
void ForEachPart(DType dtype, int cols, const Use& use) {
  const auto block_bytes = static_cast<std::size_t>(Traits(dtype).block_bytes);
  const std::size_t row_bytes = *RowBytes(dtype, static_cast<std::uint64_t>(cols));
  std::size_t block_of_row = 0;
  for (int begin = 0; begin < cols; begin += kGroupChunk) {
    const Chunk chunk(dtype, cols, begin);
    for (int row = 0; row < kGroupRows; ++row) {
      const std::size_t in_rows =
          static_cast<std::size_t>(row) * row_bytes + block_of_row * block_bytes;
      for (int block = 0; block < chunk.blocks(); ++block) {
        const std::size_t in_row = in_rows + static_cast<std::size_t>(block) * block_bytes;
        chunk.ForEachPart(block, row, [&](const GroupPart& part, std::size_t in_group) {
          use(part, in_group, in_row + static_cast<std::size_t>(part.offset));
        });
      }
    }
    block_of_row += static_cast<std::size_t>(chunk.blocks());
  }
}

void CheckGroup(DType dtype, int cols, std::span<const std::byte> a, std::span<const std::byte> b) {
  const auto row_bytes = RowBytes(dtype, static_cast<std::uint64_t>(cols));
  DOPPLER_CHECK(CanGroupRows(dtype, kGroupRows) && row_bytes.has_value());
  DOPPLER_CHECK(a.size() == kGroupRows * *row_bytes && b.size() == a.size());
}

// Units lie side by side in a row and kGroupRows apart in a group. Their sizes are constants, so
// that a unit is one load and one store.
template <std::size_t kUnit>
void ScatterUnits(const std::byte* part, std::size_t bytes, std::byte* group) {
  for (std::size_t at = 0; at < bytes; at += kUnit) {
    std::memcpy(group + kGroupRows * at, part + at, kUnit);
  }
}
template <std::size_t kUnit>
void GatherUnits(const std::byte* group, std::size_t bytes, std::byte* part) {
  for (std::size_t at = 0; at < bytes; at += kUnit) {
    std::memcpy(part + at, group + kGroupRows * at, kUnit);
  }
}

void Scatter(const GroupPart& part, const std::byte* from, std::byte* group) {
  const auto bytes = static_cast<std::size_t>(part.bytes);
  if (part.unit == kWord) return ScatterUnits<kWord>(from, bytes, group);
  if (part.unit == kHalf) return ScatterUnits<kHalf>(from, bytes, group);
  ScatterUnits<1>(from, bytes, group);
}

void Gather(const GroupPart& part, const std::byte* group, std::byte* to) {
  const auto bytes = static_cast<std::size_t>(part.bytes);
  if (part.unit == kWord) return GatherUnits<kWord>(group, bytes, to);
  if (part.unit == kHalf) return GatherUnits<kHalf>(group, bytes, to);
  GatherUnits<1>(group, bytes, to);
}

}  // namespace

std::span<const GroupPart> GroupParts(DType dtype) {
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

bool CanGroupRows(DType dtype, std::int64_t rows) {
  return rows % kGroupRows == 0 && !GroupParts(dtype).empty();
}

void GroupRows(DType dtype, int cols, std::span<const std::byte> rows, std::span<std::byte> group) {
  CheckGroup(dtype, cols, rows, group);
  ForEachPart(dtype, cols, [&](const GroupPart& part, std::size_t in_group, std::size_t in_rows) {
    Scatter(part, rows.data() + in_rows, group.data() + in_group);
  });
}

void UngroupRows(DType dtype, int cols, std::span<const std::byte> group,
                 std::span<std::byte> rows) {
  CheckGroup(dtype, cols, group, rows);
  ForEachPart(dtype, cols, [&](const GroupPart& part, std::size_t in_group, std::size_t in_rows) {
    Gather(part, group.data() + in_group, rows.data() + in_rows);
  });
}

void CopyBlocksOfRow(DType dtype, int cols, std::span<const std::byte> group, int row, int begin,
                     int count, std::span<std::byte> out) {
  const int block_elements = Traits(dtype).block_elements;
  const auto block_bytes = static_cast<std::size_t>(Traits(dtype).block_bytes);
  const int chunk_begin = begin / kGroupChunk * kGroupChunk;
  DOPPLER_CHECK(begin + count <= std::min(cols, chunk_begin + kGroupChunk));
  DOPPLER_CHECK(out.size() == *RowBytes(dtype, static_cast<std::uint64_t>(count)));
  const Chunk chunk(dtype, cols, chunk_begin);
  const int first = (begin - chunk_begin) / block_elements;
  for (int i = 0; i < count / block_elements; ++i) {
    std::byte* const to = out.data() + static_cast<std::size_t>(i) * block_bytes;
    chunk.ForEachPart(first + i, row, [&](const GroupPart& part, std::size_t in_group) {
      Gather(part, group.data() + in_group, to + part.offset);
    });
  }
}

}  // namespace doppler
