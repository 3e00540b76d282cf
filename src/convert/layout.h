// Where each tensor goes: a pure function from a list of tensors to a list of shards.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "format/manifest.h"

namespace doppler {

// A tensor to be placed. An expert's three come one after the other: gate, up, down.
struct LayoutTensor {
  Bytes size = 0;
  int layer = -1;   // -1: before or after the layers
  int expert = -1;  // -1: not an expert's
};

struct PlacedTensor {
  std::size_t tensor = 0;  // index into the list
  Bytes offset = 0;        // in the shard
};

struct PlannedShard {
  ShardType type = ShardType::kDense;
  std::string expert_key;
  Bytes size = 0;                     // a multiple of kDirectAlignment
  std::vector<PlacedTensor> tensors;  // by offset
};

struct LayoutOptions {
  ShardingStrategy strategy = ShardingStrategy::kExpert;
  // The most that a dense shard should have, or what a fixed shard has; 0 for a default (128 MiB
  // and 64 MiB, or more if a tensor needs it).
  Bytes shard_size = 0;
};

// Every tensor starts on kDirectAlignment; an expert record, and the first tensor after one, on
// kLeafBytes. Throws UsageError for a fixed shard size that is not a multiple of kDirectAlignment
// or too small, with the smallest that would do.
std::vector<PlannedShard> PlanLayout(std::span<const LayoutTensor> tensors,
                                     const LayoutOptions& options);

}  // namespace doppler
