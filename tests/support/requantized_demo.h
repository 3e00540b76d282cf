// The demo model with its matrices in other formats.
#pragma once

#include <filesystem>

#include "backend/dtype.h"

namespace doppler {

// Writes a GGUF file: the demo model with the matrices that every token needs, and the experts' if
// they are wanted too, in `type`, which Quantize can write. All else keeps its format.
void WriteRequantizedDemo(DType type, bool with_experts, const std::filesystem::path& file);

}  // namespace doppler
