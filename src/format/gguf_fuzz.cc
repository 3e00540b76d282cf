// Any bytes as a GGUF file: an Error, or tensors that lie inside it.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/error.h"
#include "format/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto read = [&](doppler::Bytes offset, std::span<std::byte> out) {
    DOPPLER_CHECK(offset <= size && out.size() <= size - offset);
    std::memcpy(out.data(), data + offset, out.size());
  };
  try {
    const doppler::GgufHeader header = doppler::ParseGguf(read, size, "fuzz");
    for (const auto& [name, tensor] : header.tensors) {
      DOPPLER_CHECK(tensor.offset <= size && tensor.size <= size - tensor.offset);
    }
  } catch (const doppler::Error&) {
  }
  return 0;
}
