#include "backend/cpu/quantized_scratch.h"

#include <algorithm>
#include <cstring>

namespace doppler {
namespace {

template <class T>
T* FromIfAny(T* all, std::ptrdiff_t start) {
  return all == nullptr ? nullptr : all + start;
}

template <class T>
void CopyIfAny(const T* from, int count, T* to) {
  if (from != nullptr) std::copy_n(from, count, to);
}

void CopyHalves(const Bf16* all, int from, int cols, Bf16* out, int to) {
  const Bf16* source = all + HalvesOfRow(from, cols);
  Bf16* place = out + HalvesOfRow(to, cols);
  for (std::ptrdiff_t at = 0; at < std::ptrdiff_t{16} * cols; at += std::ptrdiff_t{16} * 32) {
    std::memcpy(place + at, source + at, 32 * sizeof(Bf16));
  }
}

}  // namespace

QuantizedLayout::QuantizedLayout(Bytes begin, int tokens, int cols, const QuantizedParts& some)
    : parts(some), values(begin) {
  const Bytes count = static_cast<Bytes>(tokens) * static_cast<Bytes>(PaddedStride(cols));
  residuals = values + count;
  unsigned_values = residuals + count;
  unsigned_residuals = unsigned_values + (parts.unsigned_values ? count : 0);
  whole_values = unsigned_residuals + (parts.unsigned_values ? count : 0);
  scales = whole_values + (parts.whole_values ? count * sizeof(std::int16_t) : 0);
  sums32 = scales + AlignUp(count / 32 * sizeof(float), sizeof(CacheLine));
  sums16 = sums32 + AlignUp(count / 32 * sizeof(float), sizeof(CacheLine));
  whole_sums = sums16 + AlignUp(count / 16 * sizeof(float), sizeof(CacheLine));
  whole_sums16 = whole_sums + AlignUp(count / 32 * sizeof(std::int32_t), sizeof(CacheLine));
  end = whole_sums16 + AlignUp(count / 16 * sizeof(std::int32_t), sizeof(CacheLine));
}

QuantizedRows QuantizedLayout::At(std::byte* base) const {
  const auto unsigned_at = [&](Bytes offset) {
    return parts.unsigned_values ? reinterpret_cast<std::uint8_t*>(base + offset) : nullptr;
  };
  return {.values = reinterpret_cast<std::int8_t*>(base + values),
          .residuals = reinterpret_cast<std::int8_t*>(base + residuals),
          .unsigned_values = unsigned_at(unsigned_values),
          .unsigned_residuals = unsigned_at(unsigned_residuals),
          .whole_values =
              parts.whole_values ? reinterpret_cast<std::int16_t*>(base + whole_values) : nullptr,
          .scales = reinterpret_cast<float*>(base + scales),
          .sums32 = reinterpret_cast<float*>(base + sums32),
          .sums16 = reinterpret_cast<float*>(base + sums16),
          .whole_sums = reinterpret_cast<std::int32_t*>(base + whole_sums),
          .whole_sums16 = reinterpret_cast<std::int32_t*>(base + whole_sums16),
          // In place of all values: either are of one call.
          .halves = parts.unsigned_values ? reinterpret_cast<Bf16*>(base + values) : nullptr,
          .half_residuals =
              parts.unsigned_values ? reinterpret_cast<Bf16*>(base + unsigned_values) : nullptr};
}

QuantizedRows RowsFrom(const QuantizedRows& all, int row) {
  return ValuesFrom(all, static_cast<std::ptrdiff_t>(row) * all.stride);
}

QuantizedRows ValuesFrom(const QuantizedRows& all, std::ptrdiff_t start) {
  return {.values = FromIfAny(all.values, start),
          .residuals = FromIfAny(all.residuals, start),
          .unsigned_values = FromIfAny(all.unsigned_values, start),
          .unsigned_residuals = FromIfAny(all.unsigned_residuals, start),
          .whole_values = FromIfAny(all.whole_values, start),
          .scales = FromIfAny(all.scales, start / 32),
          .sums32 = FromIfAny(all.sums32, start / 32),
          .sums16 = FromIfAny(all.sums16, start / 16),
          .whole_sums = FromIfAny(all.whole_sums, start / 32),
          .whole_sums16 = FromIfAny(all.whole_sums16, start / 16),
          .halves = FromIfAny(all.halves, start),
          .half_residuals = FromIfAny(all.half_residuals, start),
          .cols = all.cols,
          .stride = all.stride};
}

void CopyRow(const QuantizedRows& all, int from, const QuantizedRows& out, int to) {
  if (all.halves != nullptr) {
    CopyHalves(all.halves, from, all.cols, out.halves, to);
    if (all.half_residuals != nullptr) {
      CopyHalves(all.half_residuals, from, all.cols, out.half_residuals, to);
    }
    return;
  }
  const QuantizedRows source = RowsFrom(all, from);
  const QuantizedRows place = RowsFrom(out, to);
  std::copy_n(source.values, all.cols, place.values);
  CopyIfAny(source.residuals, all.cols, place.residuals);
  CopyIfAny(source.unsigned_values, all.cols, place.unsigned_values);
  CopyIfAny(source.unsigned_residuals, all.cols, place.unsigned_residuals);
  CopyIfAny(source.whole_values, all.cols, place.whole_values);
  std::copy_n(source.scales, all.cols / 32, place.scales);
  std::copy_n(source.sums32, all.cols / 32, place.sums32);
  std::copy_n(source.sums16, all.cols / 16, place.sums16);
  std::copy_n(source.whole_sums, all.cols / 32, place.whole_sums);
  std::copy_n(source.whole_sums16, all.cols / 16, place.whole_sums16);
}

}  // namespace doppler
