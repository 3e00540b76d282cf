// Small models of every family, for tests.
#pragma once

#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include "base/function_ref.h"
#include "synth/artifact.h"

namespace doppler {

// A config.json of two layers, with experts where the family has them.
nlohmann::json SmallHubConfig(const std::string& family);

struct SmallSynth {
  std::string hub_config;
  ModelConfig config;
  std::vector<SynthTensor> tensors;
  SynthOptions options;  // writes "artifact" in the folder
};
SmallSynth MakeSmallSynth(const nlohmann::json& hub_config, const std::filesystem::path& folder,
                          const std::string& quant = "q4_k_m");

inline void IgnoreProgress(Bytes, Bytes) {}

}  // namespace doppler
