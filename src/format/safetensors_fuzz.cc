// Any bytes as a safetensors file: an Error, or tensors that lie inside it.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "format/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto bytes = std::as_bytes(std::span(data, size));
    for (const auto& [name, tensor] : doppler::ParseSafetensors(bytes, "fuzz")) {
      DOPPLER_CHECK(tensor.offset <= size && tensor.size <= size - tensor.offset);
    }
  } catch (const doppler::Error&) {
  }
  return 0;
}
