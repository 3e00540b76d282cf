// Writes an artifact of random weights with the exact shape of a model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "backend/dtype.h"
#include "backend/weight_layout.h"
#include "base/bytes.h"
#include "base/function_ref.h"
#include "model/config.h"
#include "model/stored_layout.h"
#include "model/tensors.h"
#include "synth/random_weights.h"

namespace doppler {

struct SynthTensor {
  TensorSpec spec;
  DType dtype = DType::kF32;
  Bytes size = 0;
  WeightLayout layout = WeightLayout::kRow;
};

// The tensors of a model in the formats of `quant`: a block type's name, with which each matrix has
// the format that `convert --quant` gives it (QuantizedFormat), "q4_k_m" for ggml's usual mix, or
// "bf16". Throws UsageError for a name that is none of these.
std::vector<SynthTensor> PlanSynth(const ModelConfig& config, const std::string& quant,
                                   WeightLayout layout = kDefaultLayout);

struct SynthOptions {
  std::filesystem::path output;     // must not exist
  std::filesystem::path tokenizer;  // a folder with tokenizer files to copy; may be empty
  std::string model_id;
  // Expert files of different content in each format; all others are hard links to one of these,
  // so that a model larger than the disk can be read at its real size. 0: no links.
  std::size_t distinct_experts = 0;
  WeightStyle style;
  int threads = 1;
};

// `on_progress` sees the bytes of the model that exist so far, linked ones among them, and in all.
void WriteSynthArtifact(const ModelConfig& config, const std::vector<SynthTensor>& tensors,
                        const SynthOptions& options,
                        const std::function<void(Bytes done, Bytes total)>& on_progress);

}  // namespace doppler
