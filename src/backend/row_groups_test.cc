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

struct GroupedFormat {
  DType dtype;
  WeightLayout layout;
};
std::vector<GroupedFormat> GroupedFormats() {
  std::vector<GroupedFormat> formats;
  for (const DType dtype : kGroupedTypes) formats.push_back({dtype, WeightLayout::kRows16});
  formats.push_back({DType::kQ6_K, WeightLayout::kRows16Steps});
  return formats;
}

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

ByteList GroupsOf(DType dtype, WeightLayout layout, int cols, const ByteList& rows) {
  ByteList groups(rows.size());
  const std::size_t size = kGroupRows * SizeOfRow(dtype, cols);
  for (std::size_t at = 0; at < rows.size(); at += size) {
    GroupRows(dtype, layout, cols, std::span(rows).subspan(at, size),
              std::span(groups).subspan(at, size));
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

// Four times one of each, the next ones of four bytes.
std::vector<Unit> Triples(int first, int second, int third) {
  std::vector<Unit> units;
  for (int i = 0; i < 16; i += 4) {
    for (const int from : {first, second, third}) units.push_back({from + i, 4});
  }
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
  WeightLayout layout = WeightLayout::kRows16;
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
       Joined({Units(192, 16, 1),
               {{208, 2}},
               Triples(0, 32, 128),
               Triples(16, 48, 144),
               Triples(64, 96, 160),
               Triples(80, 112, 176)}),
       WeightLayout::kRows16Steps},
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
    EXPECT_EQ(GroupsOf(order.dtype, order.layout, order.cols, rows_by_row), by_row)
        << DTypeName(order.dtype);
    EXPECT_EQ(GroupsOf(order.dtype, order.layout, order.cols, rows_by_place), by_place)
        << DTypeName(order.dtype);
  }
}

TEST(RowGroups, AreUndoneExactly) {
  for (const auto& [dtype, layout] : GroupedFormats()) {
    for (const int cols : ColumnCounts(dtype)) {
      const ByteList rows = RandomRowBytes(dtype, cols);
      const ByteList group = GroupsOf(dtype, layout, cols, rows);
      EXPECT_NE(group, rows);
      ByteList again(rows.size());
      UngroupRows(dtype, layout, cols, group, again);
      EXPECT_EQ(again, rows) << DTypeName(dtype) << " " << cols;
    }
  }
}

TEST(RowGroups, GiveTheBlocksOfARow) {
  for (const auto& [dtype, layout] : GroupedFormats()) {
    const int block = Traits(dtype).block_elements;
    for (const int cols : ColumnCounts(dtype)) {
      const ByteList rows = RandomRowBytes(dtype, cols);
      const ByteList group = GroupsOf(dtype, layout, cols, rows);
      const std::size_t row_bytes = SizeOfRow(dtype, cols);
      const auto expect_blocks = [&, dtype = dtype, layout = layout](int row, int begin,
                                                                     int count) {
        ByteList blocks(SizeOfRow(dtype, count));
        CopyBlocksOfRow(dtype, layout, cols, group, row, begin, count, blocks);
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
  for (const auto& [dtype, layout] : GroupedFormats()) {
    const int cols = ColumnCounts(dtype).rbegin()[1];
    const int block = Traits(dtype).block_elements;
    const ByteList rows = RandomRowBytes(dtype, cols, kRows);
    const ByteList groups = GroupsOf(dtype, layout, cols, rows);
    const WeightMatrix in_rows = {.data = rows.data(), .dtype = dtype, .rows = kRows, .cols = cols};
    WeightMatrix in_groups = in_rows;
    in_groups.data = groups.data();
    in_groups.layout = layout;
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
    EXPECT_EQ(CanGroupRows(traits.dtype, 32, WeightLayout::kRows16), grouped) << traits.name;
    EXPECT_EQ(CanGroupRows(traits.dtype, 32, WeightLayout::kRows16Steps),
              traits.dtype == DType::kQ6_K);
    EXPECT_FALSE(CanGroupRows(traits.dtype, 32, WeightLayout::kRow));
    EXPECT_FALSE(CanGroupRows(traits.dtype, 24)) << traits.name;
  }
}

TEST(RowGroups, HaveEachByteOfABlockOnce) {
  for (const auto& [dtype, layout] : GroupedFormats()) {
    std::vector<int> times(static_cast<std::size_t>(Traits(dtype).block_bytes), 0);
    for (const GroupPart& part : GroupParts(dtype, layout)) {
      EXPECT_EQ(part.bytes % part.unit, 0) << DTypeName(dtype);
      for (int i = 0; i < part.bytes; ++i) ++times.at(static_cast<std::size_t>(part.offset + i));
    }
    EXPECT_EQ(times, std::vector<int>(times.size(), 1)) << DTypeName(dtype);
  }
}

}  // namespace
}  // namespace doppler
