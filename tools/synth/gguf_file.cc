#include "synth/gguf_file.h"

#include <cstring>
#include <map>

#include "base/error.h"
#include "base/interrupt.h"
#include "convert/checkpoint.h"
#include "convert/gguf_names.h"
#include "format/gguf.h"
#include "io/streamed_file.h"
#include "model/families.h"
#include "synth/gguf_metadata.h"
#include "synth/gguf_tokens.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kAlignment = 32;

using Use = FunctionRef<void(std::span<const std::byte>)>;

// A tensor of the file: one of the model's, or a layer's experts.
struct FileTensor {
  std::string name;
  std::vector<std::uint64_t> dims;  // innermost first
  DType dtype = DType::kF32;
  Bytes size = 0;
  std::vector<std::size_t> parts;       // of the model's tensors
  std::span<const float> factors = {};  // instead of parts
};

// GPT-OSS has the other word for the norm after attention.
std::string FileName(const TensorSpec& spec, const Family& family) {
  const GgufName name = GgufNameOf(spec);
  const std::optional<std::string_view> synonym = name.Synonym();
  return synonym && family.name == "gpt_oss" ? name.Full(*synonym) : name.Full();
}

FileTensor Factors(const char* name, std::span<const float> factors) {
  return {.name = name,
          .dims = {factors.size()},
          .dtype = DType::kF32,
          .size = factors.size_bytes(),
          .parts = {},
          .factors = factors};
}

// The factors that GGUF keeps as tensors: those of Llama 3, or both lists of LongRoPE. `yarn` and
// `linear` are written by their parameters.
void AddFactors(const ModelConfig& config, const HubScaling& scaling,
                std::vector<FileTensor>& list) {
  const std::vector<float>& factors = config.rope_scaling.factors;
  if (config.long_rope_from > 0) {
    list.push_back(Factors("rope_factors_short.weight", factors));
    list.push_back(Factors("rope_factors_long.weight", config.long_rope_scaling.factors));
  } else if (scaling.type == "llama3") {
    list.push_back(Factors("rope_freqs.weight", factors));
  }
}

std::vector<FileTensor> PlanFile(const ModelConfig& config, const HubScaling& scaling,
                                 const std::vector<SynthTensor>& tensors) {
  const Family& family = FamilyByName(config.family);
  std::vector<FileTensor> list;
  std::map<std::string, std::size_t> stacks;
  AddFactors(config, scaling, list);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorSpec& spec = tensors[i].spec;
    const std::string name = FileName(spec, family);
    const auto [found, is_new] = stacks.try_emplace(name, list.size());
    if (is_new) {
      list.push_back({.name = name,
                      .dims = {spec.shape.rbegin(), spec.shape.rend()},
                      .dtype = tensors[i].dtype,
                      .size = 0,
                      .parts = {}});
      if (spec.expert >= 0) {
        list.back().dims.push_back(static_cast<std::uint64_t>(config.num_experts));
      }
    }
    FileTensor& tensor = list[found->second];
    DOPPLER_CHECK(tensor.dtype == tensors[i].dtype);
    tensor.size += tensors[i].size;
    tensor.parts.push_back(i);
  }
  return list;
}

// Puts the rows of each head into the order 0, half, 1, half + 1, ...
class HeadInterleaver {
 public:
  HeadInterleaver(std::size_t head_rows, Bytes row_bytes)
      : rows_(head_rows), row_bytes_(row_bytes), out_(head_rows * row_bytes) {}

  // Takes bytes in any portions and gives whole heads to `use`.
  void Add(std::span<const std::byte> bytes, Use use) {
    while (!bytes.empty()) {
      const std::size_t take = std::min(bytes.size(), out_.size() - head_.size());
      head_.insert(head_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(take));
      bytes = bytes.subspan(take);
      if (head_.size() == out_.size()) Flush(use);
    }
  }

 private:
  void Flush(Use use) {
    for (std::size_t row = 0; row < rows_; ++row) {
      const std::size_t source = row % 2 == 0 ? row / 2 : rows_ / 2 + row / 2;
      std::memcpy(out_.data() + row * row_bytes_, head_.data() + source * row_bytes_, row_bytes_);
    }
    use(out_);
    head_.clear();
  }

  std::size_t rows_;
  Bytes row_bytes_;
  std::vector<std::byte> head_;  // what there is of it
  std::vector<std::byte> out_;
};

class FileWriter {
 public:
  FileWriter(const ModelConfig& config, const std::vector<SynthTensor>& tensors,
             const SynthOptions& options, const fs::path& path)
      : config_(config),
        tensors_(tensors),
        family_(FamilyByName(config.family)),
        pool_(options.threads),
        weights_(pool_, options.style),
        file_(path) {}

  void Write(std::span<const std::byte> bytes) { file_.Write(bytes); }

  void Write(const FileTensor& tensor) {
    if (!tensor.factors.empty()) file_.Write(std::as_bytes(tensor.factors));
    for (const std::size_t part : tensor.parts) WritePart(part);
    const Bytes padding = AlignUp(file_.position(), kAlignment) - file_.position();
    file_.Write(std::vector<std::byte>(padding));
  }

  void Finish() { file_.Finish(); }

 private:
  void WritePart(std::size_t part) {
    const SynthTensor& tensor = tensors_[part];
    const auto write = [this](std::span<const std::byte> bytes) {
      ThrowIfInterrupted();
      file_.Write(bytes);
    };
    if (!IsInterleavedInGguf(tensor.spec, family_)) {
      weights_.Stream(tensor.spec, tensor.dtype, part, write);
      return;
    }
    const Bytes row_bytes = tensor.size / static_cast<Bytes>(tensor.spec.shape.front());
    HeadInterleaver heads(static_cast<std::size_t>(config_.head_dim), row_bytes);
    weights_.Stream(tensor.spec, tensor.dtype, part,
                    [&](std::span<const std::byte> bytes) { heads.Add(bytes, write); });
  }

  const ModelConfig& config_;
  const std::vector<SynthTensor>& tensors_;
  const Family& family_;
  ThreadPool pool_;
  RandomWeights weights_;
  StreamedFile file_;
};

// All that comes before the bytes of the tensors.
std::string Header(const ModelConfig& config, const HubScaling& scaling,
                   const SynthOptions& options, const std::vector<FileTensor>& list) {
  GgufBuilder builder(kAlignment);
  AddGgufMetadata(config, scaling, options.model_id, builder);
  AddGgufTokens(options.tokenizer, config.vocab_size, builder);
  Bytes offset = 0;
  for (const FileTensor& tensor : list) {
    const std::optional<std::uint32_t> type = GgmlTypeOf(tensor.dtype);
    if (!type) Throw("GGUF has no {}; choose another --quant", DTypeName(tensor.dtype));
    builder.AddTensorAt(tensor.name, tensor.dims, *type, offset);
    offset = AlignUp(offset + tensor.size, kAlignment);
  }
  return builder.Build();
}

}  // namespace

void WriteSynthGguf(const ModelConfig& config, const std::string& hub_config,
                    const std::vector<SynthTensor>& tensors, const SynthOptions& options,
                    const fs::path& output, const std::function<void(Bytes, Bytes)>& on_progress) {
  DOPPLER_CHECK(options.distinct_experts == 0);
  const StagingFolder staging(output);
  const fs::path unfinished = staging.path() / "model.gguf";
  const HubScaling scaling = ScalingOf(hub_config);
  const std::vector<FileTensor> list = PlanFile(config, scaling, tensors);
  const std::string header = Header(config, scaling, options, list);
  Bytes total = 0;
  for (const FileTensor& tensor : list) total += tensor.size;

  FileWriter writer(config, tensors, options, unfinished);
  writer.Write(std::as_bytes(std::span(header)));
  Bytes done = 0;
  for (const FileTensor& tensor : list) {
    writer.Write(tensor);
    done += tensor.size;
    on_progress(done, total);
  }
  writer.Finish();
  fs::rename(unfinished, output);
  SyncFolder(staging.path().parent_path());
}

}  // namespace doppler
