// A prompt in, text out, token by token.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "text/answer_reader.h"
#include "tier/expert_cache.h"

namespace doppler {

struct GenerateOptions {
  int max_tokens = -1;  // -1: until the text ends or the context is full
  SamplerOptions sampler;
  std::vector<std::string> stop;  // ends the text, or the answer, before the first of these strings
};

enum class StopReason : std::uint8_t {
  kEndOfText,  // the model said so
  kMaxTokens,
  kStopString,
  kContextFull,
  kInterrupted,  // Ctrl-C
};
std::string_view StopReasonName(StopReason reason);

// Counters of prefill or decode.
struct PhaseStats {
  std::size_t tokens = 0;  // that went through the model
  double seconds = 0;
  ExpertCacheStats experts;  // what this phase added
  WeightStreamStats stream;  // likewise
  SpeculationStats guesses;  // likewise
  PassTimes times;           // likewise
  std::uint64_t major_faults = 0;

  // Waiting for bytes, of experts and of streamed layers.
  double StallSeconds() const { return experts.stall_seconds + stream.stall_seconds; }
};

struct GenerateResult {
  std::vector<TokenId> tokens;  // generated, without the one that ended the text
  StopReason stop = StopReason::kMaxTokens;
  PhaseStats prefill;
  PhaseStats decode;
};

// Appends `prompt` to the session and generates what follows on it. `on_text` gets the text as it
// comes, in whole UTF-8 sequences, without special tokens, and without what could still become a
// stop string. Throws Error if the prompt does not fit in the context, or as Session::Append does.
// REQUIRES: prompt is not empty.
GenerateResult Generate(Session& session, const Engine& engine, std::span<const TokenId> prompt,
                        const GenerateOptions& options,
                        const std::function<void(std::string_view)>& on_text);

// The same for an answer, a text of its own: `reader` tells its parts, and none begins with empty
// lines. Stop strings are looked for in what is meant for the user.
GenerateResult GenerateAnswer(Session& session, const Engine& engine,
                              std::span<const TokenId> prompt, const GenerateOptions& options,
                              AnswerReader reader,
                              const std::function<void(AnswerPart, std::string_view)>& on_part);

}  // namespace doppler
