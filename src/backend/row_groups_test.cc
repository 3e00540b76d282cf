#include "backend/row_groups.h"

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "backend/quantize.h"
#include "backend/weight_matrix.h"

namespace doppler {
namespace {

using ByteList = std::vector<std::byte>;

constexpr std::array kGroupedTypes = {DType::kQ8_0,  DType::kQ4_0, DType::kIQ4_NL, DType::kInt4G32,
                                      DType::kMxfp4, DType::kQ4_K, DType::kQ5_K,   DType::kQ6_K};

// One block, chunks that are not whole, and GPT-OSS's model dimension.
std::vector<int> ColumnCounts(DType dtype) {
  if (Traits(dtype).block_elements == kGroupChunk) return {256, 768, 2816};
  return {32, 64, 256, 288, 352, 2880};
}

std::size_t SizeOfRow(DType dtype, int cols) {
  return *RowBytes(dtype, static_cast<std::uint64_t>(cols));
}

ByteList RandomRowBytes(DType dtype, int cols, int rows = kGroupRows) {
  std::mt19937 random(static_cast<unsigned>(cols) + 1);
  ByteList bytes(static_cast<std::size_t>(rows) * SizeOfRow(dtype, cols));
  std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
  return bytes;
}

ByteList GroupsOf(DType dtype, int cols, const ByteList& rows) {
  ByteList groups(rows.size());
  const std::size_t size = kGroupRows * SizeOfRow(dtype, cols);
  for (std::size_t at = 0; at < rows.size(); at += size) {
    GroupRows(dtype, cols, std::span(rows).subspan(at, size), std::span(groups).subspan(at, size));
  }
  return groups;
}

// Consecutive bytes of a row that stay together.
struct Unit {
  int first;
  int bytes;
};

// `count` units of `bytes` each, one after the other in the row.
std::vector<Unit> Units(int first, int count, int bytes) {
  std::vector<Unit> units;
  for (int i = 0; i < count; ++i) units.push_back({first + i * bytes, bytes});
  return units;
}

std::vector<Unit> Joined(std::initializer_list<std::vector<Unit>> lists) {
  std::vector<Unit> all;
  for (const std::vector<Unit>& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

// What docs/format.md says of a row's bytes: in which order a group has its units.
struct UnitOrder {
  DType dtype;
  int cols;
  std::vector<Unit> units;
};

std::vector<UnitOrder> UnitOrders() {
  return {
      // Two blocks of 18 bytes: their scales, then their nibbles.
      {DType::kQ4_0, 64, Joined({{{0, 2}, {18, 2}}, Units(2, 4, 4), Units(20, 4, 4)})},
      // Nine blocks of 17 bytes: eight of the first chunk and one of the second.
      {DType::kMxfp4, 288,
       Joined({{{0, 1}, {17, 1}, {34, 1}, {51, 1}, {68, 1}, {85, 1}, {102, 1}, {119, 1}},
               Units(1, 4, 4),
               Units(18, 4, 4),
               Units(35, 4, 4),
               Units(52, 4, 4),
               Units(69, 4, 4),
               Units(86, 4, 4),
               Units(103, 4, 4),
               Units(120, 4, 4),
               {{136, 1}},
               Units(137, 4, 4)})},
      {DType::kQ8_0, 32, Joined({{{0, 2}}, Units(2, 8, 4)})},
      {DType::kQ4_K, 256, Joined({{{0, 2}, {2, 2}}, Units(4, 3, 4), Units(16, 32, 4)})},
      {DType::kQ5_K, 256,
       Joined({{{0, 2}, {2, 2}}, Units(4, 3, 4), Units(16, 8, 4), Units(48, 32, 4)})},
      {DType::kQ6_K, 256,
       Joined({Units(0, 32, 4), Units(128, 16, 4), Units(192, 16, 1), {{208, 2}}})},
  };
}

TEST(RowGroups, StandAsTheFormatSays) {
  for (const UnitOrder& order : UnitOrders()) {
    const std::size_t row_bytes = SizeOfRow(order.dtype, order.cols);
    ByteList rows_by_row(kGroupRows * row_bytes);    // each byte is the number of its row
    ByteList rows_by_place(kGroupRows * row_bytes);  // or its place in the row
    for (std::size_t i = 0; i < rows_by_row.size(); ++i) {
      rows_by_row[i] = static_cast<std::byte>(i / row_bytes);
      rows_by_place[i] = static_cast<std::byte>(i % row_bytes);
    }
    ByteList by_row;
    ByteList by_place;
    for (const Unit& unit : order.units) {
      for (int row = 0; row < 16; ++row) {
        for (int i = 0; i < unit.bytes; ++i) {
          by_row.push_back(static_cast<std::byte>(row));
          by_place.push_back(static_cast<std::byte>(unit.first + i));
        }
      }
    }
    EXPECT_EQ(GroupsOf(order.dtype, order.cols, rows_by_row), by_row) << DTypeName(order.dtype);
    EXPECT_EQ(GroupsOf(order.dtype, order.cols, rows_by_place), by_place) << DTypeName(order.dtype);
  }
}

TEST(RowGroups, AreUndoneExactly) {
  for (const DType dtype : kGroupedTypes) {
    for (const int cols : ColumnCounts(dtype)) {
      const ByteList rows = RandomRowBytes(dtype, cols);
      const ByteList group = GroupsOf(dtype, cols, rows);
      EXPECT_NE(group, rows);
      ByteList again(rows.size());
      UngroupRows(dtype, cols, group, again);
      EXPECT_EQ(again, rows) << DTypeName(dtype) << " " << cols;
    }
  }
}

TEST(RowGroups, GiveTheBlocksOfARow) {
  for (const DType dtype : kGroupedTypes) {
    const int block = Traits(dtype).block_elements;
    for (const int cols : ColumnCounts(dtype)) {
      const ByteList rows = RandomRowBytes(dtype, cols);
      const ByteList group = GroupsOf(dtype, cols, rows);
      const std::size_t row_bytes = SizeOfRow(dtype, cols);
      const auto expect_blocks = [&](int row, int begin, int count) {
        ByteList blocks(SizeOfRow(dtype, count));
        CopyBlocksOfRow(dtype, cols, group, row, begin, count, blocks);
        const auto first =
            rows.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(row) * row_bytes +
                                                       SizeOfRow(dtype, begin));
        ASSERT_TRUE(std::equal(blocks.begin(), blocks.end(), first))
            << DTypeName(dtype) << " " << cols << ": " << count << " of row " << row << " from "
            << begin;
      };
      for (int row = 0; row < kGroupRows; ++row) {
        for (int begin = 0; begin < cols; begin += block) {
          const int chunk_end = std::min(cols, begin / kGroupChunk * kGroupChunk + kGroupChunk);
          expect_blocks(row, begin, block);
          expect_blocks(row, begin, chunk_end - begin);
        }
      }
    }
  }
}

TEST(RowGroups, HaveTheValuesOfTheRows) {
  constexpr int kRows = 3 * kGroupRows;
  for (const DType dtype : kGroupedTypes) {
    const int cols = ColumnCounts(dtype).rbegin()[1];
    const int block = Traits(dtype).block_elements;
    const ByteList rows = RandomRowBytes(dtype, cols, kRows);
    const ByteList groups = GroupsOf(dtype, cols, rows);
    const WeightMatrix in_rows = {.data = rows.data(), .dtype = dtype, .rows = kRows, .cols = cols};
    WeightMatrix in_groups = in_rows;
    in_groups.data = groups.data();
    in_groups.layout = WeightLayout::kRows16;
    for (std::size_t row = 0; row < kRows; ++row) {
      for (const int begin : {0, block}) {
        std::vector<float> expected(static_cast<std::size_t>(cols - begin));
        std::vector<float> values(expected.size());
        DequantizeColumns(in_rows, row, static_cast<std::size_t>(begin), expected);
        DequantizeColumns(in_groups, row, static_cast<std::size_t>(begin), values);
        // Random bytes may be no numbers, which equal nothing.
        ASSERT_TRUE(std::ranges::equal(std::as_bytes(std::span(values)),
                                       std::as_bytes(std::span(expected))))
            << DTypeName(dtype) << " row " << row << " from " << begin;
      }
    }
  }
}

TEST(RowGroups, AreOfSixteenRowsInFormatsThatHaveParts) {
  for (const DTypeTraits& traits : kDTypes) {
    const bool grouped = std::ranges::count(kGroupedTypes, traits.dtype) == 1;
    EXPECT_EQ(CanGroupRows(traits.dtype, 32), grouped) << traits.name;
    EXPECT_FALSE(CanGroupRows(traits.dtype, 24)) << traits.name;
    int bytes = 0;
    for (const GroupPart& part : GroupParts(traits.dtype)) {
      EXPECT_EQ(part.offset, bytes) << traits.name;
      EXPECT_EQ(part.bytes % part.unit, 0) << traits.name;
      bytes += part.bytes;
    }
    EXPECT_EQ(bytes, grouped ? traits.block_bytes : 0) << traits.name;
  }
}

}  // namespace
}  // namespace doppler
