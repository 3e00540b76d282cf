// Small random checkpoints in every form that convert reads, for tests.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "format/gguf_builder.h"
#include "model/config.h"
#include "model/tensors.h"

namespace doppler {

// A model's weights under canonical names, bf16.
struct SampleModel {
  ModelConfig config;
  std::vector<TensorSpec> specs;
  std::map<std::string, std::vector<std::byte>> weights;
};

// Two layers of random weights of a family, with four experts if it has experts.
SampleModel MakeSample(const std::string& family, int model_dim = 64);

enum class HubStyle {
  kSingleFile,  // model.safetensors, the hub's names
  kIndexed,     // three files and an index
  kStacked,     // a layer's experts in two tensors
};

// Writes config.json, tokenizer.json and the weights into an existing folder.
void WriteHub(const SampleModel& sample, const std::filesystem::path& folder,
              HubStyle style = HubStyle::kSingleFile);
std::string HubConfigJson(const ModelConfig& config);

// Whether BuildGguf makes a tensor F32: norms, biases and routers.
bool IsWideInGguf(const TensorSpec& spec);

// The model as GGUF: weights of projections and experts as they are, the others in F32, experts
// stacked, rotary rows interleaved where the family wants it.
GgufBuilder BuildGguf(const SampleModel& sample);

// The values of bf16 weights as f32.
std::vector<std::byte> WidenBf16(std::span<const std::byte> weights);

}  // namespace doppler
