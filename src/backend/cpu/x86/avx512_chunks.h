// What the products of rows, groups and panels know about chunks of 256 values (see
// avx512_formats.h). Only their headers include this.
#pragma once

#include <immintrin.h>

#include "backend/cpu/activation_step.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/avx512_formats.h"

namespace doppler {
// NOLINTBEGIN(misc-definitions-in-headers)
namespace {

template <class Format>
constexpr int kLanesOf = kChunk / Format::kRun;

// From so many tokens on unpacking sixteen rows that are in order pays.
constexpr int kLeastForPanels = 4;

// Runs of the chunk that begins at column `begin`.
template <class Format>
int RunsAt(const MatMulTile& tile, int begin) {
  const int left = tile.cols - begin;
  return (left < kChunk ? left : kChunk) / Format::kRun;
}

// Values 64 * pair and on, zeros beyond the chunk's runs.
template <class Format>
__m512i ValuesUpTo(const Byte* chunk, int pair, int runs) {
  if (2 * pair + 2 <= runs) return Format::Values(chunk, pair);
  return 2 * pair + 1 == runs ? Format::LastRun(chunk, 2 * pair) : _mm512_setzero_si512();
}

// As AddLanes of avx512_row_product.h, for a row in each lane: lanes[i] is the sum of run i of all
// chunks.
template <int kLanes>
__m512 AddLanesOfRows(__m512 (&lanes)[kLanes]) {
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) {
      lanes[lane] = _mm512_add_ps(lanes[lane], lanes[lane + half]);
    }
  }
  return lanes[0];
}

}  // namespace
// NOLINTEND(misc-definitions-in-headers)
}  // namespace doppler
