// Any bytes from the swarm process: an Error, or messages that are written as they were read.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "swarm/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppler;  // NOLINT: a program of its own
  const auto bytes = std::as_bytes(std::span(data, size));
  std::string written;
  try {
    FrameReader reader(1 << 20);
    reader.Add(bytes);
    while (const auto message = reader.Next()) written += EncodeFrame(*message);
  } catch (const Error&) {
  }
  DOPPLER_CHECK(std::string(data, data + size).starts_with(written));
  return 0;
}
