// A recorded run's experts, paged through a cache of another size or policy: how often would they
// have been resident? Pure arithmetic, a second for minutes of decode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/trace.h"
#include "tier/eviction.h"

namespace doppler {

enum class ReplayPolicy : std::uint8_t {
  kDefault,    // what the engine would choose for that many slots
  kRecency,    // global recency
  kFrequency,  // global, decayed
  kLayers,     // recency, each layer with slots of its own
  kOptimal,    // Belady: evicts what is wanted last; only possible afterwards
};
std::string_view ReplayPolicyName(ReplayPolicy policy);
std::optional<ReplayPolicy> ReplayPolicyFromName(std::string_view name);

struct ReplayOptions {
  ReplayPolicy policy = ReplayPolicy::kDefault;
  std::size_t slots = 0;
  double half_life_tokens = kDefaultHalfLifeTokens;  // of kFrequency
};

// Uses are counted as the engine's statistics do; decode is passes of one token.
struct ReplayResult {
  std::uint64_t uses = 0;
  std::uint64_t hits = 0;
  std::uint64_t decode_uses = 0;
  std::uint64_t decode_hits = 0;
};

// Nothing if the slots cannot hold one token's experts in a layer. Slots all have one size here.
std::optional<ReplayResult> Replay(const ExpertTrace& trace, const ReplayOptions& options);

}  // namespace doppler
