#include "convert/row_grouper.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "backend/row_groups.h"

namespace doppler {
namespace {

// Three groups of rows of two blocks, given in portions of these sizes, over and over.
class RowGrouperTest : public testing::TestWithParam<std::vector<std::size_t>> {};

TEST_P(RowGrouperTest, MakesTheSameOfAnyPortions) {
  constexpr DType kType = DType::kQ4_0;
  constexpr int kCols = 64;
  constexpr std::size_t kGroup = 16 * 36;
  std::mt19937 random(3);
  std::vector<std::byte> rows(3 * kGroup);
  std::ranges::generate(rows, [&] { return static_cast<std::byte>(random()); });
  std::vector<std::byte> expected(rows.size());
  for (std::size_t at = 0; at < rows.size(); at += kGroup) {
    GroupRows(kType, WeightLayout::kRows16, kCols, std::span(rows).subspan(at, kGroup),
              std::span(expected).subspan(at, kGroup));
  }

  std::vector<std::byte> out;
  const auto use = [&](std::span<const std::byte> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
  };
  RowGrouper grouper(kType, kCols, use);
  std::size_t turn = 0;
  for (std::span<const std::byte> left = rows; !left.empty(); ++turn) {
    const std::size_t size = std::min(left.size(), GetParam()[turn % GetParam().size()]);
    grouper.Add(left.first(size));
    left = left.subspan(size);
    EXPECT_EQ(grouper.empty(), left.size() % kGroup == 0);
  }
  EXPECT_TRUE(grouper.empty());
  EXPECT_EQ(out, expected);
}

INSTANTIATE_TEST_SUITE_P(Portions, RowGrouperTest,
                         testing::Values(std::vector<std::size_t>{3 * 576},
                                         std::vector<std::size_t>{576},
                                         std::vector<std::size_t>{36}, std::vector<std::size_t>{1},
                                         std::vector<std::size_t>{575, 2},
                                         std::vector<std::size_t>{100, 1152, 1},
                                         std::vector<std::size_t>{577, 0, 575}));

}  // namespace
}  // namespace doppler
