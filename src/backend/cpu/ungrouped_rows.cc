#include "backend/cpu/ungrouped_rows.h"

#include "base/error.h"

namespace doppler {
namespace {

// q8_0 takes most of the formats that have groups. Rows are whole blocks of up to 256 values.
Bytes BytesOfGroup(int cols) {
  const Bytes values = AlignUp(static_cast<Bytes>(cols), kGroupChunk);
  return kGroupRows * *RowBytes(DType::kQ8_0, values);
}

}  // namespace

Bytes UngroupedRows::BytesFor(int threads, int cols) {
  return static_cast<Bytes>(threads) * BytesOfGroup(cols);
}

void UngroupedRows::Reserve(int threads, int cols) {
  memory_.resize(BytesFor(threads, cols));
  taken_ = std::vector<std::atomic<bool>>(static_cast<std::size_t>(threads));
}

UngroupedRows::Place::Place(UngroupedRows& all) : all_(all) {
  while (index_ < all_.taken_.size() &&
         all_.taken_[index_].exchange(true, std::memory_order_acquire)) {
    ++index_;
  }
  DOPPLER_CHECK(index_ < all_.taken_.size());
}

UngroupedRows::Place::~Place() { all_.taken_[index_].store(false, std::memory_order_release); }

const std::byte* UngroupedRows::Place::Read(const WeightMatrix& matrix, int row) {
  DOPPLER_CHECK(row % kGroupRows == 0 && row + kGroupRows <= matrix.rows);
  const Bytes row_bytes = *RowBytes(matrix.dtype, static_cast<std::uint64_t>(matrix.cols));
  const std::size_t share = all_.memory_.size() / all_.taken_.size();
  const Bytes bytes = kGroupRows * row_bytes;
  DOPPLER_CHECK(bytes <= share);
  const std::span place = std::span(all_.memory_).subspan(index_ * share, bytes);
  UngroupRows(matrix.dtype, matrix.layout, matrix.cols,
              {matrix.data + static_cast<std::size_t>(row) * row_bytes, bytes}, place);
  return place.data();
}

}  // namespace doppler
