// Any bytes as manifest.json: an Error or a manifest that serialises to what it was read from.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "format/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using doppler::ParseManifest;
  try {
    const std::string text(data, data + size);
    const doppler::Manifest manifest = ParseManifest(text, "fuzz");
    const std::string written = SerializeManifest(manifest);
    DOPPLER_CHECK(SerializeManifest(ParseManifest(written, "again")) == written);
    FindExpertRecord(manifest, doppler::LayerId(0), doppler::ExpertId(1));
  } catch (const doppler::Error&) {
  }
  return 0;
}
