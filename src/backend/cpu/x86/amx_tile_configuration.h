// What LDTILECFG reads (Intel's Architecture Instruction Set Extensions reference, chapter 3).
#pragma once

#include <cstdint>

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

constexpr int kTileRows = 16;
constexpr int kTileRowBytes = 64;

struct alignas(64) TileConfiguration {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};

  void Describe(int tile, int tile_rows, int tile_row_bytes) {
    rows[tile] = static_cast<std::uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<std::uint16_t>(tile_row_bytes);
  }
};
static_assert(sizeof(TileConfiguration) == 64);

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
