// Any bytes as a record of checked files, with the hash at its end as it would be and as it is:
// refused, or values that are written as they were read.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "swarm/checked_files.h"

namespace {

void CheckRecord(const std::string& text) {
  try {
    DOPPLER_CHECK(doppler::FormatChecked(doppler::ParseChecked(text)) == text);
  } catch (const doppler::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  CheckRecord(text);
  const auto bytes = std::as_bytes(std::span(text));
  CheckRecord(text + doppler::ToHex(doppler::Sha256(bytes)) + "\n");
  return 0;
}
