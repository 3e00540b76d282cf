// Writes the weights of WriteSynthArtifact as one GGUF file, value for value, so that llama.cpp and
// Doppler can be measured on the same model.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "synth/artifact.h"

namespace doppler {

// Experts are stacked, rotary rows in the architecture's order. Of `options` all but
// `distinct_experts`, which must be 0, and `output` count. `hub_config` is the text of the
// config.json that `config` was read from. The file appears under its name when it is complete, or
// not at all. Throws Error, also for a model that GGUF cannot describe.
void WriteSynthGguf(const ModelConfig& config, const std::string& hub_config,
                    const std::vector<SynthTensor>& tensors, const SynthOptions& options,
                    const std::filesystem::path& output,
                    const std::function<void(Bytes done, Bytes total)>& on_progress);

}  // namespace doppler
