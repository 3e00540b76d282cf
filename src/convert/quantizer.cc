#include "convert/quantizer.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "backend/quantize.h"
#include "base/error.h"

namespace doppler {

std::span<const std::byte> Quantizer::Run(DType from, std::span<const std::byte> weights, DType to,
                                          const std::string& name) {
  const auto block_values = static_cast<std::size_t>(Traits(to).block_elements);
  const auto block_bytes = static_cast<std::size_t>(Traits(to).block_bytes);
  const std::size_t source_bytes = RowBytes(from, block_values).value();
  const std::size_t blocks = weights.size() / source_bytes;
  DOPPLER_CHECK(blocks * source_bytes == weights.size());
  floats_.resize(blocks * block_values);
  blocks_.resize(blocks * block_bytes);
  constexpr std::size_t kBlocksAtOnce = 64;
  std::atomic<bool> in_range = true;
  pool_.ParallelFor(blocks, kBlocksAtOnce, [&](std::size_t begin, std::size_t end) {
    const auto part = [begin, end](auto whole, std::size_t each) {
      return whole.subspan(begin * each, (end - begin) * each);
    };
    const std::span<float> floats = part(std::span(floats_), block_values);
    Dequantize(from, part(weights, source_bytes), floats);
    if (std::all_of(floats.begin(), floats.end(), IsQuantizable)) {
      Quantize(to, floats, part(std::span(blocks_), block_bytes));
    } else {
      in_range = false;
    }
  });
  if (in_range) return blocks_;
  const float wrong = *std::find_if_not(floats_.begin(), floats_.end(), IsQuantizable);
  Throw(
      "the tensor '{}' holds the weight {}, which {} cannot store: the largest is {}; mend the "
      "checkpoint, or convert it without --quant",
      name, wrong, DTypeName(to), kLargestQuantizable);
}

}  // namespace doppler
