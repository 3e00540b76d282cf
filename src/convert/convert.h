// `doppler convert`: from a checkpoint to an artifact.
//
//   OpenCheckpoint -> PlanLayout -> shards written and hashed, one pass -> manifest -> rename
//
// Memory stays within some MiB whatever the model's size. The artifact appears under its name when
// it is complete, or not at all.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backend/dtype.h"
#include "backend/weight_layout.h"
#include "base/bytes.h"
#include "format/manifest.h"

namespace doppler {

struct ConvertOptions {
  std::filesystem::path checkpoint = {};  // a hub folder or a GGUF file
  std::filesystem::path output = {};      // must not exist
  ShardingStrategy sharding = ShardingStrategy::kExpert;
  Bytes shard_size = 0;                     // 0: as PlanLayout chooses
  std::optional<DType> quantize = {};       // the block format of weights, see PlanTensors
  std::optional<WeightLayout> layout = {};  // kRow, or kRows16 for groups, see PlanTensors
  std::string model_id = {};                // empty: from the checkpoint's name
  bool allow_missing_tokenizer = false;
  int threads = 1;  // for quantisation
};

struct ConvertReport {
  std::string model_id;
  std::size_t shards = 0;
  std::size_t tensors = 0;
  Bytes bytes = 0;                 // of all shards
  std::vector<std::string> notes;  // for the user: what was kept as it was, and why
};

// Called with the bytes written so far and in all.
using ConvertProgress = std::function<void(Bytes done, Bytes total)>;

// Throws Error for whatever is wrong with the checkpoint or the output's place, UsageError for
// options that make no sense, InterruptedError on Ctrl-C; nothing is left behind then.
ConvertReport Convert(const ConvertOptions& options, const ConvertProgress& on_progress);

}  // namespace doppler
