// GGUF checkpoints: llama.cpp's names, stacked experts, permuted rotary rows.
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "convert/checkpoint.h"
#include "convert/gguf_names.h"
#include "convert/gguf_tokenizer.h"
#include "model/families.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// Tensors that the configuration was read from.
const std::set<std::string_view> kConfigTensors = {"rope_freqs.weight", "rope_factors_long.weight",
                                                   "rope_factors_short.weight"};

class GgufMapper {
 public:
  GgufMapper(const GgufModel& model, const ModelConfig& config)
      : model_(model), config_(config), family_(FamilyByName(config.family)) {}

  SourceTensor Find(const TensorSpec& spec) {
    const GgufName name = GgufNameOf(spec);
    SourceTensor source = spec.expert >= 0 ? FindExpert(spec, name) : FindWhole(spec, name);
    if (IsInterleavedInGguf(spec, family_)) {
      source.interleaved_head_dim = config_.head_dim;
    }
    return source;
  }

  void RequireAllUsed() const {
    for (const auto& [name, tensor] : model_.tensors()) {
      if (used_.contains(name) || kConfigTensors.contains(name)) continue;
      if (IsOfPredictionLayer(name, "blk.", config_) || RepeatsLatent(name)) continue;
      Throw(
          "{}: the tensor '{}' is not part of a model of this family; Doppler cannot compute what "
          "it is for",
          model_.files()[tensor.file].path().string(), name);
    }
  }

 private:
  const std::string& where() const { return model_.metadata().where(); }

  // Some files hold the joined projection of keys and values and its two parts; then the joined one
  // is used.
  bool RepeatsLatent(std::string_view name) const {
    return config_.IsLatent() && !config_.split_kv_b &&
           (name.ends_with(".attn_k_b.weight") || name.ends_with(".attn_v_b.weight"));
  }

  const GgufTensor* TryUse(const std::string& name) {
    const auto found = model_.tensors().find(name);
    if (found == model_.tensors().end()) return nullptr;
    used_.insert(name);
    return &found->second;
  }

  const GgufTensor& Use(const std::string& name) {
    const GgufTensor* const found = TryUse(name);
    if (found != nullptr) return *found;
    Throw("{}: the tensor '{}' is missing; the file is not complete, fetch it again", where(),
          name);
  }

  SourceTensor FindWhole(const TensorSpec& spec, const GgufName& name) {
    if (const std::optional<std::string_view> synonym = name.Synonym()) {
      const std::string other = name.Full(*synonym);
      if (const GgufTensor* const found = TryUse(other)) return At(spec, other, *found);
    }
    GgufTensor found = Use(name.Full());
    // The two parts of a latent projection have a matrix for each head, [heads, rows, cols].
    const bool of_heads = name.word == "attn_k_b" || name.word == "attn_v_b";
    const std::vector<std::int64_t> heads = {
        config_.num_heads, spec.shape.front() / config_.num_heads, spec.shape.back()};
    if (of_heads && found.shape == heads) found.shape = spec.shape;
    return At(spec, name.Full(), found);
  }

  // Experts are stacked, [experts, rows, cols]; the first Mixtral files had a tensor for each.
  SourceTensor FindExpert(const TensorSpec& spec, const GgufName& name) {
    const std::string single = name.Full(fmt::format("{}.{}", name.WordOfOne(), spec.expert));
    if (const GgufTensor* const found = TryUse(single)) return At(spec, single, *found);
    const std::string stacked = name.Full();
    const GgufTensor& all = Use(stacked);
    const std::vector<std::int64_t> expected = {config_.num_experts, spec.shape[0], spec.shape[1]};
    if (all.shape != expected) ThrowShape(where(), stacked, all.shape, expected);
    GgufTensor one = all;
    one.shape = spec.shape;
    one.size = all.size / static_cast<Bytes>(config_.num_experts);
    one.offset += static_cast<Bytes>(spec.expert) * one.size;
    return At(spec, stacked, one);
  }

  SourceTensor At(const TensorSpec& spec, const std::string& name, const GgufTensor& tensor) const {
    if (tensor.shape != spec.shape) ThrowShape(where(), name, tensor.shape, spec.shape);
    const std::optional<DType> dtype = DTypeOfGgml(tensor.type);
    if (!dtype) {
      Throw(
          "{}: the tensor '{}' is stored as {}, which is not supported; get a file in a usual "
          "format, such as BF16, Q8_0 or Q4_K",
          where(), name, GgmlTypeName(tensor.type).value_or("an unknown format"));
    }
    return {.spec = spec,
            .dtype = *dtype,
            .file = tensor.file,
            .offset = tensor.offset,
            .size = tensor.size};
  }

  const GgufModel& model_;
  const ModelConfig& config_;
  const Family& family_;
  std::set<std::string> used_;
};

// "x" of "x.gguf" and of "x-00001-of-00003.gguf".
std::string ModelName(const fs::path& path, std::size_t parts) {
  constexpr std::size_t kPartSuffix = std::string_view("-00001-of-00003").size();
  std::string stem = path.stem().string();
  if (parts > 1) stem.resize(stem.size() - kPartSuffix);
  return stem;
}

}  // namespace

Checkpoint OpenGgufCheckpoint(const fs::path& path, bool allow_missing_tokenizer) {
  GgufModel model(path);
  Checkpoint checkpoint;
  checkpoint.name = ModelName(path, model.files().size());
  checkpoint.config = ConfigFromGguf(model);
  if (!allow_missing_tokenizer || HasVocabulary(model.metadata())) {
    checkpoint.tokenizer_files = TokenizerFilesFromGguf(model.metadata());
  }
  GgufMapper mapper(model, checkpoint.config);
  for (const TensorSpec& spec : ExpectedTensors(checkpoint.config)) {
    checkpoint.tensors.push_back(mapper.Find(spec));
  }
  mapper.RequireAllUsed();
  checkpoint.files = std::move(model).TakeFiles();
  return checkpoint;
}

}  // namespace doppler
