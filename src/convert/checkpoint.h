// A checkpoint as convert sees it: every tensor that the model must have, under its canonical name,
// and where its bytes stand. Whatever a source calls, stacks or permutes is resolved here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "backend/dtype.h"
#include "base/bytes.h"
#include "base/function_ref.h"
#include "format/gguf.h"
#include "io/file.h"
#include "model/config.h"
#include "model/tensors.h"

namespace doppler {

// Scales that the hub keeps in a tensor of their own, in the order of what they belong to.
struct SourceScales {
  std::size_t file = 0;
  Bytes offset = 0;
  Bytes row_stride = 0;  // bytes from row to row, if the tensor has one
};

struct SourceTensor {
  TensorSpec spec;  // what the model wants; the source's shape is the same
  DType dtype = DType::kF32;
  std::size_t file = 0;  // of Checkpoint::files
  Bytes offset = 0;      // of the first value
  Bytes size = 0;        // as the artifact stores it
  // Where values do not follow each other: bytes from a row's first value to the next row's and, of
  // a float format, from a value to the next of its row. Rows are all dimensions but the last. 0
  // where they do.
  Bytes row_stride = 0;
  Bytes column_stride = 0;
  std::optional<SourceScales> scales = std::nullopt;
  // The rows of each head of this many stand in the order 0, half, 1, half + 1, ...: interleaved
  // rotary pairs. 0 for rows that are in order.
  int interleaved_head_dim = 0;
};

struct TextFile {
  std::string name;
  std::string text;
};

struct Checkpoint {
  std::string name;  // of the folder or file, for the model's name
  ModelConfig config;
  std::vector<File> files;
  std::vector<SourceTensor> tensors;      // in the order of ExpectedTensors
  std::vector<TextFile> tokenizer_files;  // to stand beside the manifest
};

// A hub folder or a GGUF file. Throws Error, by name, for what is missing, unknown or does not fit
// the configuration; and for a hub folder without tokenizer.json, or a GGUF file without a
// vocabulary, unless that is allowed.
Checkpoint OpenCheckpoint(const std::filesystem::path& path, bool allow_missing_tokenizer);
Checkpoint OpenHubCheckpoint(const std::filesystem::path& folder, bool allow_missing_tokenizer);
Checkpoint OpenGgufCheckpoint(const std::filesystem::path& path, bool allow_missing_tokenizer);

// The configuration that a GGUF's metadata and tensor shapes describe.
ModelConfig ConfigFromGguf(const GgufModel& model);

// Calls `use` with a tensor's bytes, in order and in portions of some MiB, each of which holds
// whole blocks of its format. Stops with InterruptedError on Ctrl-C.
void StreamTensor(const Checkpoint& checkpoint, const SourceTensor& tensor,
                  FunctionRef<void(std::span<const std::byte>)> use);

// The part of a name before its last two words: "gate_proj" of "layers.0.mlp.gate_proj.weight".
std::string_view PartOf(std::string_view tensor_name);

// Whether `name` is "PREFIX<n>..." with n from config.num_layers on, in a family whose checkpoints
// may have such layers: they predict tokens further ahead and are not used.
bool IsOfPredictionLayer(std::string_view name, std::string_view prefix, const ModelConfig& config);

// Throws Error: a tensor of a source whose shape is not what the configuration asks for.
[[noreturn]] void ThrowShape(const std::string& where, const std::string& name,
                             const std::vector<std::int64_t>& found,
                             const std::vector<std::int64_t>& expected);

}  // namespace doppler
