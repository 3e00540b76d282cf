// Any bytes as a trace: an Error, or uses that can be replayed.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "engine/replay.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppler;  // NOLINT: a program of its own
  try {
    const std::string text(data, data + size);
    const ExpertTrace trace = ParseTrace(text, "fuzz");
    if (trace.model.Records() > 100000) return 0;
    for (const ReplayPolicy policy :
         {ReplayPolicy::kDefault, ReplayPolicy::kLayers, ReplayPolicy::kOptimal}) {
      const auto result = Replay(trace, {.policy = policy, .slots = trace.model.Records() / 2 + 1});
      DOPPLER_CHECK(!result || result->hits <= result->uses);
    }
  } catch (const Error&) {
  }
  return 0;
}
