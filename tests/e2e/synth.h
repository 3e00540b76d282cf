// Models of random weights, of a size that a test chooses.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "e2e/program.h"

namespace doppler {

// Makes the artifact FOLDER/model of a hub configuration, with weights in q8_0 and the tokenizer of
// the demo model (a vocabulary of 8192), of which no token ends a text. `more` goes to
// doppler_synth.
fs::path SynthModel(const fs::path& folder, const nlohmann::json& config,
                    const std::vector<std::string>& more = {});

}  // namespace doppler
