// Any bytes as config.json: an Error, or one of the ways in which weights may be quantised.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "convert/hub_quantization.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    doppler::ParseHubQuantization(std::string(data, data + size), "fuzz");
  } catch (const doppler::Error&) {
  }
  return 0;
}
