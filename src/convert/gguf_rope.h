// The rotary embedding that a GGUF describes, in llama.cpp's keys and tensors.
#pragma once

#include "convert/gguf_keys.h"
#include "model/families.h"

namespace doppler {

// Reads base, scaling and factors into `config`, whose head dimensions must be there already.
// Throws Error for a kind of scaling that is not supported.
void ReadGgufRope(const GgufModel& model, const GgufKeys& keys, const Family& family,
                  ModelConfig& config);

}  // namespace doppler
