// Any bytes as a usage file: refused, or values that are written as they were read.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "tier/usage.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppler;  // NOLINT: a program of its own
  constexpr std::size_t kRecords = 4;
  const auto bytes = std::as_bytes(std::span(data, size));
  const Digest model{};
  if (const auto usage = ParseUsage(bytes, model, kRecords)) {
    DOPPLER_CHECK(ParseUsage(SerializeUsage(model, *usage), model, kRecords) == usage);
  }
  // Past the checksum, which no fuzzer guesses.
  std::vector<std::byte> signed_bytes(bytes.begin(), bytes.end());
  const Digest digest = Sha256(signed_bytes);
  const auto tail = std::as_bytes(std::span(digest));
  signed_bytes.insert(signed_bytes.end(), tail.begin(), tail.end());
  ParseUsage(signed_bytes, model, kRecords);
  return 0;
}
