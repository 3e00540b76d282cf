// What a GGUF says of a model beside its tensors and vocabulary, in llama.cpp's keys.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "format/gguf_builder.h"
#include "model/config.h"

namespace doppler {

// The position scaling of a config.json by its parameters, of which ModelConfig has only what
// follows from them.
struct HubScaling {
  std::string type;  // "default" for none
  nlohmann::json parameters;
};
// REQUIRES: a text that ConfigFromHub takes.
HubScaling ScalingOf(const std::string& hub_config);

// Throws Error for what GGUF has no keys for. `scaling` is that of the config.json that `config`
// was read from.
void AddGgufMetadata(const ModelConfig& config, const HubScaling& scaling, const std::string& name,
                     GgufBuilder& builder);

}  // namespace doppler
