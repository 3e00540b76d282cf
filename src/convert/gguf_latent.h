// DeepSeek's latent attention and routing as a GGUF of the architecture deepseek2 describes them.
#pragma once

#include "convert/gguf_keys.h"
#include "model/config.h"

namespace doppler {

// Reads the ranks and the parts of a head, in files with and without separate key and value
// projections.
void ReadGgufLatentHeads(const GgufModel& model, const GgufKeys& keys, ModelConfig& config);

// Reads routing and shared experts, after the experts themselves. Throws Error for a way of routing
// that is not supported.
void ReadGgufLatentRouting(const GgufKeys& keys, ModelConfig& config);

// The scale that YaRN gives to scores instead of rotated queries and keys, after the rotary
// embedding has been read.
void ReadGgufLatentScale(const GgufKeys& keys, ModelConfig& config);

}  // namespace doppler
