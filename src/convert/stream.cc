// The bytes of a checkpoint's tensors in the order of the artifact.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/interrupt.h"
#include "convert/checkpoint.h"
#include "convert/hub_quantization.h"

namespace doppler {
namespace {

constexpr Bytes kPortion = 4 * kMiB;

Bytes RowBytesOf(const SourceTensor& tensor) {
  return RowBytes(tensor.dtype, static_cast<std::uint64_t>(tensor.spec.shape.back())).value();
}

// Puts the rows of one head into order: first the even ones, which are the first half.
void Deinterleave(std::span<const std::byte> head, std::size_t row_bytes,
                  std::span<std::byte> out) {
  const std::size_t rows = head.size() / row_bytes;
  const std::size_t half = rows / 2;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t source = row < half ? 2 * row : 2 * (row - half) + 1;
    std::memcpy(out.data() + row * row_bytes, head.data() + source * row_bytes, row_bytes);
  }
}

void StreamInOrder(const File& file, const SourceTensor& tensor,
                   FunctionRef<void(std::span<const std::byte>)> use) {
  // 256 blocks of one format are whole blocks of every other.
  const auto block = static_cast<Bytes>(Traits(tensor.dtype).block_bytes);
  const Bytes portion_size = kPortion / (256 * block) * (256 * block);
  std::vector<std::byte> buffer(std::min(portion_size, tensor.size));
  for (Bytes done = 0; done < tensor.size;) {
    ThrowIfInterrupted();
    const auto portion = std::span(buffer).first(std::min(portion_size, tensor.size - done));
    file.ReadAt(tensor.offset + done, portion);
    file.DropCache(tensor.offset + done, portion.size());
    use(portion);
    done += portion.size();
  }
}

void StreamInterleaved(const File& file, const SourceTensor& tensor,
                       FunctionRef<void(std::span<const std::byte>)> use) {
  const auto rows = static_cast<std::size_t>(tensor.spec.shape.front());
  const std::size_t row_bytes = tensor.size / rows;
  const std::size_t head_bytes = row_bytes * static_cast<std::size_t>(tensor.interleaved_head_dim);
  std::vector<std::byte> head(head_bytes);
  std::vector<std::byte> ordered(head_bytes);
  for (Bytes done = 0; done < tensor.size; done += head_bytes) {
    ThrowIfInterrupted();
    file.ReadAt(tensor.offset + done, head);
    file.DropCache(tensor.offset + done, head_bytes);
    Deinterleave(head, row_bytes, ordered);
    use(ordered);
  }
}

std::vector<std::byte> ReadSpan(const File& file, Bytes offset, Bytes size) {
  std::vector<std::byte> bytes(size);
  file.ReadAt(offset, bytes);
  file.DropCache(offset, size);
  return bytes;
}

// Calls `fill` for row after row of a tensor, and `use` with some MiB of rows at once.
void StreamRows(const SourceTensor& tensor, FunctionRef<void(std::size_t, std::byte*)> fill,
                FunctionRef<void(std::span<const std::byte>)> use) {
  const Bytes row_bytes = RowBytesOf(tensor);
  const std::size_t rows = tensor.size / row_bytes;
  const std::size_t at_once = std::clamp<std::size_t>(kPortion / row_bytes, 1, rows);
  std::vector<std::byte> portion(at_once * row_bytes);
  for (std::size_t done = 0; done < rows;) {
    ThrowIfInterrupted();
    const std::size_t count = std::min(at_once, rows - done);
    for (std::size_t i = 0; i < count; ++i) fill(done + i, portion.data() + i * row_bytes);
    use(std::span(portion).first(count * row_bytes));
    done += count;
  }
}

// Reads all that a tensor's values are spread over, at most one expert's gate and up or a layer's
// biases, and picks the values.
void StreamStrided(const File& file, const SourceTensor& tensor,
                   FunctionRef<void(std::span<const std::byte>)> use) {
  DOPPLER_CHECK(IsFloat(tensor.dtype));
  const auto value = static_cast<Bytes>(Traits(tensor.dtype).block_bytes);
  const auto cols = static_cast<std::size_t>(tensor.spec.shape.back());
  const Bytes last_row = (tensor.size / RowBytesOf(tensor) - 1) * tensor.row_stride;
  const Bytes last_value = (cols - 1) * tensor.column_stride;
  const std::vector<std::byte> source =
      ReadSpan(file, tensor.offset, last_row + last_value + value);
  const auto fill = [&](std::size_t row, std::byte* out) {
    const std::byte* const from = source.data() + row * tensor.row_stride;
    for (std::size_t col = 0; col < cols; ++col) {
      std::memcpy(out + col * value, from + col * tensor.column_stride, value);
    }
  };
  StreamRows(tensor, fill, use);
}

// The same of blocks whose nibbles and scales stand in tensors of their own.
void StreamStridedBlocks(const Checkpoint& checkpoint, const SourceTensor& tensor,
                         FunctionRef<void(std::span<const std::byte>)> use) {
  const SourceScales& scales = *tensor.scales;
  const auto block_bytes = static_cast<Bytes>(Traits(tensor.dtype).block_bytes);
  const auto nibble_bytes = static_cast<Bytes>(Traits(tensor.dtype).block_elements) / 2;
  const Bytes scale_bytes = block_bytes - nibble_bytes;
  const std::size_t blocks = RowBytesOf(tensor) / block_bytes;
  const std::size_t last_row = tensor.size / RowBytesOf(tensor) - 1;
  const std::vector<std::byte> nibbles =
      ReadSpan(checkpoint.files[tensor.file], tensor.offset,
               last_row * tensor.row_stride + blocks * nibble_bytes);
  const std::vector<std::byte> of_blocks =
      ReadSpan(checkpoint.files[scales.file], scales.offset,
               last_row * scales.row_stride + blocks * scale_bytes);
  const auto fill = [&](std::size_t row, std::byte* out) {
    JoinBlocks(std::span(nibbles).subspan(row * tensor.row_stride, blocks * nibble_bytes),
               std::span(of_blocks).subspan(row * scales.row_stride, blocks * scale_bytes),
               scale_bytes, {out, blocks * block_bytes});
  };
  StreamRows(tensor, fill, use);
}

}  // namespace

void StreamTensor(const Checkpoint& checkpoint, const SourceTensor& tensor,
                  FunctionRef<void(std::span<const std::byte>)> use) {
  const File& file = checkpoint.files[tensor.file];
  if (tensor.scales && tensor.row_stride != 0) {
    StreamStridedBlocks(checkpoint, tensor, use);
  } else if (tensor.scales) {
    StreamWithScales(checkpoint, tensor, use);
  } else if (tensor.interleaved_head_dim != 0) {
    StreamInterleaved(file, tensor, use);
  } else if (tensor.column_stride != 0) {
    StreamStrided(file, tensor, use);
  } else {
    StreamInOrder(file, tensor, use);
  }
}

}  // namespace doppler
