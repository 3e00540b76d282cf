// Hugging Face checkpoints: a folder with config.json and safetensors files.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "convert/checkpoint.h"
#include "convert/hub_quantization.h"
#include "convert/tokenizer_files.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "model/families.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// Where one of the checkpoint's own tensors stands.
struct HubTensor {
  std::size_t file = 0;
  SafetensorsTensor tensor;
  bool used = false;
};

// The tensors of all files, by the checkpoint's own names, and the files.
class HubTensors {
 public:
  explicit HubTensors(const fs::path& folder) : folder_(folder) {
    const fs::path single = folder / "model.safetensors";
    const fs::path index = folder / "model.safetensors.index.json";
    if (fs::exists(index)) {
      AddIndexed(index);
    } else if (fs::exists(single)) {
      AddFile(single.filename().string(), nullptr);
    } else {
      Throw(
          "'{}' has neither model.safetensors nor model.safetensors.index.json; only checkpoints "
          "in safetensors form can be converted",
          folder.string());
    }
  }

  // Marks a tensor as used; null if there is none.
  const HubTensor* Use(const std::string& name) {
    // Checkpoints of the bare model leave the prefix out.
    for (const std::string& full : {"model." + name, name}) {
      const auto found = tensors_.find(full);
      if (found == tensors_.end()) continue;
      found->second.used = true;
      return &found->second;
    }
    return nullptr;
  }

  void RequireAllUsed(const ModelConfig& config) const {
    for (const auto& [name, tensor] : tensors_) {
      if (tensor.used || name.ends_with(".rotary_emb.inv_freq")) continue;
      if (IsOfPredictionLayer(name, "model.layers.", config)) continue;
      Throw(
          "{}: the tensor '{}' is not part of a model of this family; Doppler cannot compute what "
          "it is for",
          files_[tensor.file].path().string(), name);
    }
  }

  const File& file(const HubTensor& tensor) const { return files_[tensor.file]; }
  std::vector<File> TakeFiles() && { return std::move(files_); }

 private:
  // Adds a file's tensors: those in `names`, which it must have, or all.
  void AddFile(const std::string& file_name, const std::set<std::string>* names) {
    const fs::path path = folder_ / file_name;
    if (!fs::exists(path)) {
      Throw("'{}' is missing; fetch the whole checkpoint again", path.string());
    }
    SafetensorsFile file(path);
    if (names == nullptr) {
      for (const auto& [name, tensor] : file.tensors()) Add(name, tensor);
    } else {
      for (const std::string& name : *names) Add(name, file.Tensor(name));
    }
    files_.push_back(std::move(file).TakeFile());
  }

  void Add(const std::string& name, const SafetensorsTensor& tensor) {
    tensors_[name] = {.file = files_.size(), .tensor = tensor};
  }

  void AddIndexed(const fs::path& index) {
    const std::string where = index.string();
    const nlohmann::json document = ParseStrictJson(ReadTextFile(index), where);
    const JsonReader top(document, where);
    const JsonReader weight_map = top.Member("weight_map");
    weight_map.RequireObject();
    std::map<std::string, std::set<std::string>> names_of_file;
    for (const auto& item : weight_map.value().items()) {
      const JsonReader file = weight_map.Member(item.key());
      if (fs::path(file.String()).filename() != file.String() || file.String() == "..") {
        file.Fail("a file of the checkpoint must stand beside this one");
      }
      names_of_file[file.String()].insert(item.key());
    }
    for (const auto& [file, names] : names_of_file) AddFile(file, &names);
  }

  fs::path folder_;
  std::map<std::string, HubTensor> tensors_;
  std::vector<File> files_;
};

DType HubDType(const std::string& name, const HubTensor& tensor, const std::string& where) {
  if (tensor.tensor.dtype == "F32") return DType::kF32;
  if (tensor.tensor.dtype == "F16") return DType::kF16;
  if (tensor.tensor.dtype == "BF16") return DType::kBf16;
  Throw(
      "{}: the tensor '{}' is stored as {}, which is not supported here; supported are F32, F16 "
      "and BF16, and what config.json's quantization_config describes",
      where, name, tensor.tensor.dtype);
}

class HubMapper {
 public:
  HubMapper(HubTensors& tensors, HubQuantization quantization, const ModelConfig& config,
            const fs::path& folder)
      : tensors_(tensors),
        quantization_(quantization),
        config_(config),
        family_(FamilyByName(config.family)),
        where_(folder.string()) {}

  SourceTensor Find(const TensorSpec& spec) {
    for (const std::string& name : {spec.name, MixtralName(spec), RouterName(spec)}) {
      if (auto whole = Whole(spec, name)) return *whole;
    }
    if (auto part = Stacked(spec)) return *part;
    Throw("{}: the tensor '{}' is missing; the checkpoint is not complete, fetch it again", where_,
          spec.name);
  }

 private:
  // Mixtral's own names for the router and the experts' projections.
  static std::string MixtralName(const TensorSpec& spec) {
    if (spec.role == TensorRole::kRouter) {
      return LayerTensorName(LayerId(spec.layer), "block_sparse_moe.gate.weight");
    }
    if (spec.expert < 0) return spec.name;
    const std::string_view part = PartOf(spec.name);
    const char* const short_name = part == "gate_proj" ? "w1" : part == "up_proj" ? "w3" : "w2";
    return LayerTensorName(LayerId(spec.layer), fmt::format("block_sparse_moe.experts.{}.{}.weight",
                                                            spec.expert, short_name));
  }

  // GPT-OSS's name for the router.
  static std::string RouterName(const TensorSpec& spec) {
    std::string name = spec.name;
    constexpr std::string_view kGate = ".mlp.gate.";
    const std::size_t at = name.find(kGate);
    if (at != std::string::npos) name.replace(at, kGate.size(), ".mlp.router.");
    return name;
  }

  std::optional<SourceTensor> Whole(const TensorSpec& spec, const std::string& name) {
    const HubTensor* const found = tensors_.Use(name);
    if (found == nullptr) return PackedInt4(spec, name);
    RequireShape(name, *found, spec.shape);
    if (quantization_ == HubQuantization::kFp8 && found->tensor.dtype == "F8_E4M3") {
      return Fp8(spec, name, *found);
    }
    return At(spec, name, *found, 0, found->tensor.size);
  }

  // A layer's experts in one tensor of [experts, ...], gate and up in one: the projections of an
  // expert, and the biases of all experts.
  std::optional<SourceTensor> Stacked(const TensorSpec& spec) {
    const bool bias = spec.name.ends_with(".bias");
    if (spec.expert < 0 && (!bias || spec.shape.size() != 2)) return std::nullopt;
    const std::string name =
        LayerTensorName(LayerId(spec.layer),
                        fmt::format("mlp.experts.{}{}", IsDown(spec) ? "down_proj" : "gate_up_proj",
                                    bias ? "_bias" : ""));
    const HubTensor* const found = tensors_.Use(name);
    if (found == nullptr) return bias ? std::nullopt : StackedMxfp4(spec, name);
    if (bias) return StackedBias(spec, name, *found);
    return family_.hub_columns_of_experts ? StackedColumns(spec, name, *found)
                                          : StackedRows(spec, name, *found);
  }

  static bool IsDown(const TensorSpec& spec) { return PartOf(spec.name) == "down_proj"; }
  static bool IsUp(const TensorSpec& spec) { return PartOf(spec.name) == "up_proj"; }

  // Gate above up in [experts, 2 * ffn, dim], down in [experts, dim, ffn].
  SourceTensor StackedRows(const TensorSpec& spec, const std::string& name,
                           const HubTensor& found) const {
    RequireShape(name, found,
                 {config_.num_experts, spec.shape[0] * (IsDown(spec) ? 1 : 2), spec.shape[1]});
    const Bytes expert_size = found.tensor.size / static_cast<Bytes>(config_.num_experts);
    const Bytes size = IsDown(spec) ? expert_size : expert_size / 2;
    const Bytes before = static_cast<Bytes>(spec.expert) * expert_size;
    return At(spec, name, found, before + (IsUp(spec) ? size : 0), size);
  }

  // GPT-OSS in a float format: a column for each output value, those of gate and up in turn, in
  // [experts, dim, 2 * ffn]; down in [experts, ffn, dim].
  SourceTensor StackedColumns(const TensorSpec& spec, const std::string& name,
                              const HubTensor& found) const {
    const std::int64_t columns = spec.shape[0] * (IsDown(spec) ? 1 : 2);
    RequireShape(name, found, {config_.num_experts, spec.shape[1], columns});
    const Bytes expert_size = found.tensor.size / static_cast<Bytes>(config_.num_experts);
    const Bytes value = expert_size / static_cast<Bytes>(spec.shape[1] * columns);
    const Bytes before = static_cast<Bytes>(spec.expert) * expert_size;
    SourceTensor source = At(spec, name, found, before + (IsUp(spec) ? value : 0),
                             IsDown(spec) ? expert_size : expert_size / 2);
    source.row_stride = IsDown(spec) ? value : 2 * value;
    source.column_stride = static_cast<Bytes>(columns) * value;
    return source;
  }

  // GPT-OSS in MXFP4: nibbles in [experts, 2 * ffn, dim / 32, 16] and exponents in
  // [experts, 2 * ffn, dim / 32], rows of gate and up in turn; down in [experts, dim, ffn / 32,
  // ...].
  std::optional<SourceTensor> StackedMxfp4(const TensorSpec& spec, const std::string& name) {
    constexpr std::int64_t kBlock = Traits(DType::kMxfp4).block_elements;
    constexpr Bytes kNibbleBytes = kBlock / 2;
    if (quantization_ != HubQuantization::kMxfp4) return std::nullopt;
    if (spec.shape[1] % kBlock != 0) {
      Throw("{}: '{}_blocks' has rows of {} values, which are not whole blocks of {}", where_, name,
            spec.shape[1], kBlock);
    }
    const std::int64_t step = IsDown(spec) ? 1 : 2;
    const std::int64_t rows = step * spec.shape[0];
    const std::int64_t blocks = spec.shape[1] / kBlock;
    const HubTensor& nibbles =
        Part(name + "_blocks", "U8", {config_.num_experts, rows, blocks, kNibbleBytes});
    const HubTensor& exponents = Part(name + "_scales", "U8", {config_.num_experts, rows, blocks});
    SourceTensor source = Combined(spec, DType::kMxfp4, nibbles, exponents);
    const Bytes first = static_cast<Bytes>(spec.expert * rows + (IsUp(spec) ? 1 : 0));
    const auto row = static_cast<Bytes>(blocks);
    source.scales->offset += first * row;
    source.scales->row_stride = static_cast<Bytes>(step) * row;
    source.offset += first * row * kNibbleBytes;
    source.row_stride = static_cast<Bytes>(step) * row * kNibbleBytes;
    return source;
  }

  // GPT-OSS: gate and up in turn in [experts, 2 * ffn], down in [experts, dim].
  SourceTensor StackedBias(const TensorSpec& spec, const std::string& name,
                           const HubTensor& found) const {
    const std::int64_t columns = spec.shape[1] * (IsDown(spec) ? 1 : 2);
    RequireShape(name, found, {spec.shape[0], columns});
    if (IsDown(spec)) return At(spec, name, found, 0, found.tensor.size);
    const Bytes value = found.tensor.size / static_cast<Bytes>(spec.shape[0] * columns);
    SourceTensor source = At(spec, name, found, IsUp(spec) ? value : 0, found.tensor.size / 2);
    source.row_stride = static_cast<Bytes>(columns) * value;
    source.column_stride = 2 * value;
    return source;
  }

  void RequireShape(const std::string& name, const HubTensor& found,
                    const std::vector<std::int64_t>& expected) const {
    if (found.tensor.shape != expected) ThrowShape(where_, name, found.tensor.shape, expected);
  }

  SourceTensor At(const TensorSpec& spec, const std::string& name, const HubTensor& found,
                  Bytes offset, Bytes size) const {
    return {.spec = spec,
            .dtype = HubDType(name, found, tensors_.file(found).path().string()),
            .file = found.file,
            .offset = found.tensor.offset + offset,
            .size = size};
  }

  // E4M3 values and their grid of scales.
  SourceTensor Fp8(const TensorSpec& spec, const std::string& name, const HubTensor& found) {
    if (spec.shape.size() != 2) Throw("{}: the tensor '{}' in FP8 is no matrix", where_, name);
    const HubTensor& scales = Part(name + "_scale_inv", "F32", GridShape(spec.shape));
    return Combined(spec, DType::kF8E4M3, found, scales);
  }

  static std::vector<std::int64_t> GridShape(const std::vector<std::int64_t>& shape) {
    std::vector<std::int64_t> grid;
    grid.reserve(shape.size());
    for (const std::int64_t extent : shape) {
      grid.push_back(static_cast<std::int64_t>(GridExtent(static_cast<std::uint64_t>(extent))));
    }
    return grid;
  }

  // compressed-tensors' pack_to_int32: eight values with 8 added to a word, the first lowest. That
  // is the order of nibbles of the hub's MXFP4.
  std::optional<SourceTensor> PackedInt4(const TensorSpec& spec, const std::string& name) {
    if (quantization_ != HubQuantization::kInt4 || spec.shape.size() != 2) return std::nullopt;
    if (tensors_.Use(name + "_packed") == nullptr) return std::nullopt;
    constexpr std::int64_t kGroup = 32;
    if (spec.shape[1] % kGroup != 0) {
      Throw("{}: '{}_packed' has rows of {} values, which are not whole groups of {}", where_, name,
            spec.shape[1], kGroup);
    }
    const HubTensor& values = Part(name + "_packed", "I32", {spec.shape[0], spec.shape[1] / 8});
    const HubTensor& scales =
        Part(name + "_scale", "BF16", {spec.shape[0], spec.shape[1] / kGroup});
    // The shape is in the configuration already.
    tensors_.Use(name + "_shape");
    return Combined(spec, DType::kInt4G32, values, scales);
  }

  // One of the tensors that make up a weight.
  const HubTensor& Part(const std::string& name, std::string_view dtype,
                        const std::vector<std::int64_t>& shape) {
    const HubTensor* const found = tensors_.Use(name);
    if (found == nullptr) {
      Throw("{}: the tensor '{}' is missing; the checkpoint is not complete, fetch it again",
            where_, name);
    }
    if (found->tensor.dtype != dtype) {
      Throw("{}: the tensor '{}' is stored as {}; only {} is supported for it", where_, name,
            found->tensor.dtype, dtype);
    }
    RequireShape(name, *found, shape);
    return *found;
  }

  static SourceTensor Combined(const TensorSpec& spec, DType dtype, const HubTensor& values,
                               const HubTensor& scales) {
    return {.spec = spec,
            .dtype = dtype,
            .file = values.file,
            .offset = values.tensor.offset,
            .size = TensorBytes(dtype, spec.shape).value(),
            .scales = SourceScales{.file = scales.file, .offset = scales.tensor.offset}};
  }

  HubTensors& tensors_;
  HubQuantization quantization_;
  const ModelConfig& config_;
  const Family& family_;
  std::string where_;
};

std::string FolderName(const fs::path& folder) {
  const fs::path full = fs::weakly_canonical(folder);
  return (full.has_filename() ? full : full.parent_path()).filename().string();
}

}  // namespace

Checkpoint OpenHubCheckpoint(const fs::path& folder, bool allow_missing_tokenizer) {
  const fs::path config_path = folder / "config.json";
  if (!fs::exists(config_path)) {
    Throw("'{}' has no config.json; give the folder of a checkpoint from the hub, or a GGUF file",
          folder.string());
  }
  Checkpoint checkpoint;
  checkpoint.name = FolderName(folder);
  const std::string config_text = ReadTextFile(config_path);
  checkpoint.config = ConfigFromHub(config_text, config_path.string());
  checkpoint.tokenizer_files = ReadTokenizerFiles(folder, allow_missing_tokenizer);
  HubTensors tensors(folder);
  HubMapper mapper(tensors, ParseHubQuantization(config_text, config_path.string()),
                   checkpoint.config, folder);
  for (const TensorSpec& spec : ExpectedTensors(checkpoint.config)) {
    checkpoint.tensors.push_back(mapper.Find(spec));
  }
  // With tied embeddings some checkpoints hold a copy of the table, which is not used.
  if (checkpoint.config.tied_embeddings) tensors.Use("lm_head.weight");
  tensors.RequireAllUsed(checkpoint.config);
  checkpoint.files = std::move(tensors).TakeFiles();
  return checkpoint;
}

}  // namespace doppler
