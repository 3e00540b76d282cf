#include "synth/artifact.h"

#include <map>

#include "backend/quantize.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "convert/checkpoint.h"
#include "convert/layout.h"
#include "convert/part_hashes.h"
#include "convert/row_grouper.h"
#include "convert/shard_writer.h"
#include "format/manifest.h"
#include "io/file.h"
#include "model/quantization.h"
#include "model/stored_layout.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMix = "q4_k_m";

// Which layers have the finer format in ggml's mixes: an eighth at each end and a third between.
bool UsesMoreBits(int layer, int layers) {
  const int eighth = layers / 8;
  return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

DType MixType(const TensorSpec& spec, int layers) {
  const std::string_view part = PartOf(spec.name);
  const bool finer_part = part == "v_proj" || part == "down_proj";
  if (spec.layer < 0) return DType::kQ6_K;
  return finer_part && UsesMoreBits(spec.layer, layers) ? DType::kQ6_K : DType::kQ4_K;
}

DType FormatOf(const TensorSpec& spec, const ModelConfig& config, const std::string& quant) {
  if (!IsWeightMatrix(spec)) return DType::kF32;
  if (quant == kMix) {
    return spec.role == TensorRole::kEmbedding ? DType::kQ4_K : MixType(spec, config.num_layers);
  }
  const DType asked = *DTypeFromName(quant);
  if (Traits(asked).block_elements == 1) return asked;
  return QuantizedFormat(spec, asked, config.num_experts > 0).value_or(DType::kBf16);
}

// An expert shard that others can be links to.
struct Original {
  ShardEntry shard;
  std::vector<Digest> leaves;
};

// One kind of expert shard: records of one size.
struct Originals {
  std::vector<Original> shards;
  std::size_t next = 0;
};

class Writer {
 public:
  Writer(const std::vector<SynthTensor>& tensors, const SynthOptions& options, const fs::path& to)
      : tensors_(tensors),
        options_(options),
        folder_(to),
        part_hashes_(to),
        pool_(options.threads),
        weights_(pool_, options.style) {}

  void Write(const PlannedShard& planned, Manifest& manifest) {
    const ShardId id(manifest.shards.size());
    for (const PlacedTensor& placed : planned.tensors) {
      const SynthTensor& tensor = tensors_[placed.tensor];
      manifest.tensors[tensor.spec.name] = {.shard = id,
                                            .offset = placed.offset,
                                            .size = tensor.size,
                                            .shape = tensor.spec.shape,
                                            .dtype = tensor.dtype,
                                            .layout = tensor.layout,
                                            .slice = std::nullopt};
    }
    ShardEntry shard = {.file = fmt::format("shards/{:05}.bin", id.value),
                        .type = planned.type,
                        .expert_key = planned.expert_key,
                        .size = planned.size};
    if (shard.type == ShardType::kExpert && options_.distinct_experts > 0) {
      FillOrLink(planned, shard);
    } else {
      Fill(planned, shard);
    }
    manifest.shards.push_back(shard);
  }

  // After the last shard.
  void Finish() const { part_hashes_.Finish(); }

 private:
  using ShardKind = std::vector<std::pair<DType, Bytes>>;

  // Shards of one kind can stand for each other.
  ShardKind Kind(const PlannedShard& planned) const {
    ShardKind kind;
    for (const PlacedTensor& placed : planned.tensors) {
      kind.emplace_back(tensors_[placed.tensor].dtype, tensors_[placed.tensor].size);
    }
    return kind;
  }

  void FillOrLink(const PlannedShard& planned, ShardEntry& shard) {
    Originals& originals = originals_[Kind(planned)];
    if (originals.shards.size() < options_.distinct_experts) {
      std::vector<Digest> leaves = Fill(planned, shard);
      originals.shards.push_back({.shard = shard, .leaves = std::move(leaves)});
    } else {
      Link(originals.shards[originals.next++ % originals.shards.size()], shard);
    }
  }

  void Link(const Original& original, ShardEntry& shard) {
    std::error_code error;
    fs::create_hard_link(folder_ / original.shard.file, folder_ / shard.file, error);
    if (error) {
      Throw("cannot link '{}': {}; use fewer links per file with --distinct-experts",
            (folder_ / shard.file).string(), error.message());
    }
    shard.hash = original.shard.hash;
    part_hashes_.Add(shard, original.leaves);
  }

  // Returns the hashes of the shard's leaves.
  std::vector<Digest> Fill(const PlannedShard& planned, ShardEntry& shard) {
    ShardWriter writer(folder_ / shard.file);
    for (const PlacedTensor& placed : planned.tensors) {
      const SynthTensor& tensor = tensors_[placed.tensor];
      writer.PadTo(placed.offset);
      const auto write = [&](std::span<const std::byte> bytes) {
        ThrowIfInterrupted();
        writer.Write(bytes);
      };
      if (IsGrouped(tensor.layout)) {
        RowGrouper grouper(tensor.dtype, tensor.spec.shape.back(), write);
        weights_.Stream(tensor.spec, tensor.dtype, placed.tensor,
                        [&](std::span<const std::byte> bytes) { grouper.Add(bytes); });
      } else {
        weights_.Stream(tensor.spec, tensor.dtype, placed.tensor, write);
      }
      DOPPLER_CHECK(writer.position() == placed.offset + tensor.size);
    }
    writer.PadTo(planned.size);
    ShardWriter::Hashes hashes = writer.Finish();
    shard.hash = hashes.root;
    part_hashes_.Add(shard, hashes.leaves);
    return std::move(hashes.leaves);
  }

  const std::vector<SynthTensor>& tensors_;
  const SynthOptions& options_;
  fs::path folder_;
  PartHashes part_hashes_;
  ThreadPool pool_;
  RandomWeights weights_;
  std::map<ShardKind, Originals> originals_;
};

void CopyTokenizer(const fs::path& from, const fs::path& to) {
  if (from.empty()) return;
  for (const char* const name : {"tokenizer.json", "tokenizer_config.json"}) {
    if (fs::exists(from / name)) fs::copy_file(from / name, to / name);
  }
}

}  // namespace

std::vector<SynthTensor> PlanSynth(const ModelConfig& config, const std::string& quant,
                                   WeightLayout layout) {
  if (quant != kMix && !(DTypeFromName(quant) && CanQuantize(*DTypeFromName(quant)))) {
    throw UsageError(
        fmt::format("there is no '{}' to write weights in; choose bf16, {} or a "
                    "type of convert --quant",
                    quant, kMix));
  }
  std::vector<SynthTensor> tensors;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    DType dtype = FormatOf(spec, config, quant);
    if (!RowBytes(dtype, static_cast<std::uint64_t>(spec.shape.back()))) dtype = DType::kQ8_0;
    if (!RowBytes(dtype, static_cast<std::uint64_t>(spec.shape.back()))) dtype = DType::kBf16;
    tensors.push_back({.spec = spec,
                       .dtype = dtype,
                       .size = *TensorBytes(dtype, spec.shape),
                       .layout = StoredLayout(spec, dtype, layout)});
  }
  return tensors;
}

void WriteSynthArtifact(const ModelConfig& config, const std::vector<SynthTensor>& tensors,
                        const SynthOptions& options,
                        const std::function<void(Bytes, Bytes)>& on_progress) {
  StagingFolder staging(options.output);
  std::vector<LayoutTensor> to_place;
  for (const SynthTensor& tensor : tensors) {
    to_place.push_back(
        {.size = tensor.size, .layer = tensor.spec.layer, .expert = tensor.spec.expert});
  }
  const std::vector<PlannedShard> shards = PlanLayout(to_place, {});
  Bytes total = 0;
  for (const PlannedShard& shard : shards) total += shard.size;

  Manifest manifest;
  manifest.model_id = options.model_id;
  manifest.architecture = ConfigToJson(config);
  fs::create_directory(staging.path() / "shards");
  Writer writer(tensors, options, staging.path());
  Bytes done = 0;
  for (const PlannedShard& shard : shards) {
    ThrowIfInterrupted();
    writer.Write(shard, manifest);
    done += shard.size;
    on_progress(done, total);
  }
  writer.Finish();
  WriteTextFile(staging.path() / "manifest.json", SerializeManifest(manifest));
  CopyTokenizer(options.tokenizer, staging.path());
  SyncFolder(staging.path() / "shards");
  staging.Commit();
}

}  // namespace doppler
