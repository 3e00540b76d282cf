#include "convert/quantizer.h"

#include "backend/quantize.h"
#include "base/error.h"

namespace doppler {

std::span<const std::byte> Quantizer::Run(DType from, std::span<const std::byte> values, DType to) {
  const auto value_bytes = static_cast<std::size_t>(Traits(from).block_bytes);
  const auto block_values = static_cast<std::size_t>(Traits(to).block_elements);
  const auto block_bytes = static_cast<std::size_t>(Traits(to).block_bytes);
  const std::size_t blocks = values.size() / value_bytes / block_values;
  DOPPLER_CHECK(IsFloat(from) && blocks * block_values * value_bytes == values.size());
  floats_.resize(blocks * block_values);
  blocks_.resize(blocks * block_bytes);
  constexpr std::size_t kBlocksAtOnce = 64;
  pool_.ParallelFor(blocks, kBlocksAtOnce, [&](std::size_t begin, std::size_t end) {
    const auto part = [begin, end](auto whole, std::size_t each) {
      return whole.subspan(begin * each, (end - begin) * each);
    };
    const std::span<float> floats = part(std::span(floats_), block_values);
    Dequantize(from, part(values, block_values * value_bytes), floats);
    Quantize(to, floats, part(std::span(blocks_), block_bytes));
  });
  return blocks_;
}

}  // namespace doppler
