#include "convert/convert.h"

#include <algorithm>
#include <cctype>
#include <numeric>

#include "base/error.h"
#include "base/interrupt.h"
#include "convert/checkpoint.h"
#include "convert/hub_quantization.h"
#include "convert/layout.h"
#include "convert/part_hashes.h"
#include "convert/quantizer.h"
#include "convert/row_grouper.h"
#include "convert/shard_writer.h"
#include "convert/tensor_plan.h"
#include "io/file.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;

// A name from outside made into one that a manifest accepts.
std::string ModelId(const std::string& name, std::optional<DType> quantize) {
  constexpr std::size_t kLongest = 100;
  std::string id;
  for (const char c : name.substr(0, kLongest)) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' ||
                       (c == '.' && !id.empty());
    id += plain ? c : '-';
  }
  if (id.empty()) id = "model";
  return quantize ? fmt::format("{}-{}", id, DTypeName(*quantize)) : id;
}

std::vector<PlannedShard> PlanShards(const TensorPlan& plan, const ConvertOptions& options) {
  std::vector<LayoutTensor> tensors;
  for (const OutputTensor& out : plan.tensors) {
    const TensorSpec& spec = out.source->spec;
    tensors.push_back({.size = out.size, .layer = spec.layer, .expert = spec.expert});
  }
  return PlanLayout(tensors, {.strategy = options.sharding, .shard_size = options.shard_size});
}

Bytes TotalSize(const std::vector<PlannedShard>& shards) {
  return std::accumulate(shards.begin(), shards.end(), Bytes{0},
                         [](Bytes total, const PlannedShard& shard) { return total + shard.size; });
}

// What the artifact takes on disk: rather too much than too little.
Bytes DiskBytes(const std::vector<PlannedShard>& shards, const Checkpoint& checkpoint) {
  constexpr Bytes kManifestLine = 512;
  Bytes total = TotalSize(shards);
  total += total / (kLeafBytes / sizeof(Digest));
  total += (checkpoint.tensors.size() + shards.size()) * kManifestLine;
  total += 2 * shards.size() * kDirectAlignment;  // each file's last block, for leaf files
  for (const TextFile& file : checkpoint.tokenizer_files) total += file.text.size();
  return total;
}

void RequireSpace(const fs::path& folder, Bytes needed) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error || space.available >= needed) return;
  Throw(
      "the model needs {} but only {} are free where '{}' is to stand; free some space or choose "
      "another place",
      FormatSize(needed), FormatSize(space.available), folder.string());
}

class ArtifactWriter {
 public:
  ArtifactWriter(const Checkpoint& checkpoint, const TensorPlan& plan, const fs::path& folder,
                 int threads)
      : checkpoint_(checkpoint),
        plan_(plan),
        folder_(folder),
        part_hashes_(folder),
        pool_(threads),
        quantizer_(pool_) {
    fs::create_directory(folder_ / "shards");
  }

  Manifest Write(const std::vector<PlannedShard>& shards, Manifest manifest,
                 const ConvertProgress& on_progress) {
    const Bytes total = TotalSize(shards);
    Bytes before = 0;
    for (const PlannedShard& shard : shards) {
      manifest.shards.push_back(WriteShard(shard, ShardId(manifest.shards.size()), manifest,
                                           [&](Bytes done) { on_progress(before + done, total); }));
      before += shard.size;
    }
    part_hashes_.Finish();
    return manifest;
  }

 private:
  ShardEntry WriteShard(const PlannedShard& planned, ShardId id, Manifest& manifest,
                        FunctionRef<void(Bytes)> on_progress) {
    ShardEntry shard = {.file = fmt::format("shards/{:05}.bin", id.value),
                        .type = planned.type,
                        .expert_key = planned.expert_key,
                        .size = planned.size};
    ShardWriter writer(folder_ / shard.file);
    for (const PlacedTensor& placed : planned.tensors) {
      const OutputTensor& out = plan_.tensors[placed.tensor];
      writer.PadTo(placed.offset);
      WriteTensor(out, writer, on_progress);
      DOPPLER_CHECK(writer.position() == placed.offset + out.size);
      manifest.tensors[out.source->spec.name] = {.shard = id,
                                                 .offset = placed.offset,
                                                 .size = out.size,
                                                 .shape = out.source->spec.shape,
                                                 .dtype = out.dtype,
                                                 .layout = out.layout,
                                                 .slice = std::nullopt};
    }
    writer.PadTo(planned.size);
    const ShardWriter::Hashes hashes = writer.Finish();
    shard.hash = hashes.root;
    part_hashes_.Add(shard, hashes.leaves);
    on_progress(planned.size);
    return shard;
  }

  void WriteTensor(const OutputTensor& out, ShardWriter& writer,
                   FunctionRef<void(Bytes)> on_progress) {
    const auto write = [&](std::span<const std::byte> bytes) {
      writer.Write(bytes);
      on_progress(writer.position());
    };
    if (!IsGrouped(out.layout)) return StreamOutput(out, write);
    RowGrouper grouper(out.dtype, out.source->spec.shape.back(), write);
    StreamOutput(out, [&](std::span<const std::byte> rows) { grouper.Add(rows); });
    DOPPLER_CHECK(grouper.empty());
  }

  // The tensor in its output format, row after row.
  void StreamOutput(const OutputTensor& out, FunctionRef<void(std::span<const std::byte>)> use) {
    const SourceTensor& source = *out.source;
    const auto write_as = [&](DType from) {
      return [&, from](std::span<const std::byte> portion) {
        use(out.dtype == from ? portion
                              : quantizer_.Run(from, portion, out.dtype, source.spec.name));
      };
    };
    if (HasScaleGrid(source.dtype) && out.dtype != source.dtype) {
      StreamF8AsFloats(checkpoint_, source, write_as(DType::kF32));
    } else {
      StreamTensor(checkpoint_, source, write_as(source.dtype));
    }
  }

  const Checkpoint& checkpoint_;
  const TensorPlan& plan_;
  fs::path folder_;
  PartHashes part_hashes_;
  ThreadPool pool_;
  Quantizer quantizer_;
};

}  // namespace

ConvertReport Convert(const ConvertOptions& options, const ConvertProgress& on_progress) {
  StagingFolder staging(options.output);
  const Checkpoint checkpoint = OpenCheckpoint(options.checkpoint, options.allow_missing_tokenizer);
  const TensorPlan plan = PlanTensors(checkpoint, options.quantize, options.layout);
  const std::vector<PlannedShard> shards = PlanShards(plan, options);
  RequireSpace(staging.path().parent_path(), DiskBytes(shards, checkpoint));

  Manifest manifest;
  manifest.model_id = options.model_id.empty() ? ModelId(checkpoint.name, options.quantize)
                                               : ModelId(options.model_id, std::nullopt);
  manifest.architecture = ConfigToJson(checkpoint.config);
  manifest.strategy = options.sharding;
  manifest = ArtifactWriter(checkpoint, plan, staging.path(), options.threads)
                 .Write(shards, std::move(manifest), on_progress);

  const std::string text = SerializeManifest(manifest);
  ParseManifest(text, "the manifest that was made");
  WriteTextFile(staging.path() / "manifest.json", text);
  for (const TextFile& file : checkpoint.tokenizer_files) {
    WriteTextFile(staging.path() / file.name, file.text);
  }
  SyncFolder(staging.path() / "shards");
  ThrowIfInterrupted();
  staging.Commit();
  return {.model_id = manifest.model_id,
          .shards = manifest.shards.size(),
          .tensors = manifest.tensors.size(),
          .bytes = TotalSize(shards),
          .notes = plan.notes};
}

}  // namespace doppler
