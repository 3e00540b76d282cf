// What a GGUF says of a model beside its tensors and vocabulary, in llama.cpp's keys.
#pragma once

#include <string>

#include "format/gguf_builder.h"
#include "model/config.h"

namespace doppler {

// `hub_config` is the text of the config.json that `config` was read from: position scaling is
// written by its parameters, of which `config` has only what follows from them. Throws Error for a
// scaling that GGUF has no keys for.
void AddGgufMetadata(const ModelConfig& config, const std::string& hub_config,
                     const std::string& name, GgufBuilder& builder);

}  // namespace doppler
