// GGUF checkpoints: llama.cpp's names, stacked experts, permuted rotary rows.
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "convert/checkpoint.h"
#include "convert/gguf_tokenizer.h"
#include "model/families.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// The word that GGUF uses for a part of a layer.
const std::map<std::string_view, std::string_view> kLayerParts = {
    {"input_layernorm", "attn_norm"},
    {"q_proj", "attn_q"},
    {"k_proj", "attn_k"},
    {"v_proj", "attn_v"},
    {"o_proj", "attn_output"},
    {"q_norm", "attn_q_norm"},
    {"k_norm", "attn_k_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"gate", "ffn_gate_inp"},
    {"gate_proj", "ffn_gate"},
    {"up_proj", "ffn_up"},
    {"down_proj", "ffn_down"},
};
const std::map<std::string_view, std::string_view> kOtherParts = {
    {"embed_tokens", "token_embd"},
    {"norm", "output_norm"},
    {"lm_head", "output"},
};

class GgufMapper {
 public:
  GgufMapper(const GgufModel& model, const ModelConfig& config)
      : model_(model), config_(config), family_(FamilyByName(config.family)) {}

  SourceTensor Find(const TensorSpec& spec) {
    const std::string name = GgufName(spec);
    SourceTensor source = spec.expert >= 0 ? FindExpert(spec, name)
                                           : At(spec, name + ".weight", Use(name + ".weight"));
    const std::string_view part = PartOf(spec.name);
    if (family_.gguf_interleaved_rope && (part == "q_proj" || part == "k_proj")) {
      source.interleaved_head_dim = config_.head_dim;
    }
    return source;
  }

  void RequireAllUsed() const {
    for (const auto& [name, tensor] : model_.tensors()) {
      if (used_.contains(name) || name == "rope_freqs.weight") continue;
      Throw(
          "{}: the tensor '{}' is not part of a model of this family; Doppler cannot compute what "
          "it is for",
          model_.files()[tensor.file].path().string(), name);
    }
  }

 private:
  const std::string& where() const { return model_.metadata().where(); }

  static std::string GgufName(const TensorSpec& spec) {
    const std::string_view part = PartOf(spec.name);
    if (spec.layer < 0) return std::string(kOtherParts.at(part));
    return fmt::format("blk.{}.{}", spec.layer, kLayerParts.at(part));
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

  // Experts are stacked, [experts, rows, cols]; the first Mixtral files had a tensor for each.
  SourceTensor FindExpert(const TensorSpec& spec, const std::string& name) {
    const std::string single = fmt::format("{}.{}.weight", name, spec.expert);
    if (const GgufTensor* const found = TryUse(single)) return At(spec, single, *found);
    const std::string stacked = name + "_exps.weight";
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
          "{}: the tensor '{}' is stored as {}, which is not supported; get a file in BF16, "
          "Q8_0, a K or an IQ format",
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
