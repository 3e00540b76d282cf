// manifest.json of an RDRR v1 artifact: which shards there are, which tensors they hold, and the
// model's configuration. docs/format.md describes the format in prose.
//
// Parsing checks everything that can be checked without the shards: a Manifest that was parsed has
// no overlapping, duplicate, out-of-range, misaligned or unknown entries.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/dtype.h"
#include "backend/weight_layout.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "format/merkle.h"

namespace doppler {

// Every tensor begins on a multiple of this, the parts of an expert record on kDirectAlignment.
inline constexpr Bytes kTensorAlignment = 64;

enum class ShardingStrategy : std::uint8_t { kExpert, kLayer, kFixed };
enum class ShardType : std::uint8_t { kDense, kExpert, kLayer, kFixed };

struct ShardEntry {
  std::string file;  // relative to the artifact: "shards/00001.bin"
  ShardType type = ShardType::kDense;
  std::string expert_key;  // "LAYER_EXPERT" for kExpert, otherwise empty
  Bytes size = 0;          // a multiple of 4096, not 0
  Digest hash{};           // MerkleRoot
};

// Of a shard of type kExpert, by its key.
struct ExpertPlace {
  int layer = 0;
  int expert = 0;
};
// REQUIRES: the shard is of type kExpert, of a manifest that was parsed.
ExpertPlace PlaceOfExpert(const ShardEntry& shard);

// One column slice of a tensor that is stored for tensor parallelism.
struct TensorSlice {
  std::vector<std::int64_t> original_shape;
  int dim = 0;
  int index = 0;
  int count = 1;
};

struct TensorEntry {
  ShardId shard;
  Bytes offset = 0;
  Bytes size = 0;
  std::vector<std::int64_t> shape;  // outermost first: a projection is [rows, cols]
  DType dtype = DType::kF32;
  WeightLayout layout = WeightLayout::kRow;
  std::optional<TensorSlice> slice;
};

// One expert's gate, up and down projections, one after the other in one shard, each on a
// 4096-byte boundary. `size` is a multiple of 4096.
struct ExpertRecord {
  ShardId shard;
  Bytes offset = 0;
  Bytes size = 0;
  TensorEntry gate;  // [ffn_dim, model_dim]
  TensorEntry up;    // [ffn_dim, model_dim]
  TensorEntry down;  // [model_dim, ffn_dim]
};

struct Manifest {
  std::string model_id;
  std::string architecture;  // JSON object, keys sorted; model/config.h gives it meaning
  ShardingStrategy strategy = ShardingStrategy::kExpert;
  WeightLayout default_layout = WeightLayout::kRow;
  std::vector<ShardEntry> shards;              // [ShardId]
  std::map<std::string, TensorEntry> tensors;  // by canonical name

  const TensorEntry& Tensor(const std::string& name) const;  // throws Error that names it
};

// Reads and validates. `where` names the file in messages. Throws Error.
Manifest ParseManifest(std::string_view json, const std::string& where);
// One line per shard and tensor; the same manifest always gives the same bytes.
std::string SerializeManifest(const Manifest& manifest);

// Where the leaf hashes of a shard stand, if it has such a file: "shards/00001.leaves" beside
// "shards/00001.bin".
std::string LeavesFileOf(const ShardEntry& shard);

// The file that holds, for every shard of type expert that is larger than kNodeBytes and in their
// order, its MerkleNodes.
inline constexpr std::string_view kNodesFile = "shards/experts.nodes";
// How many of them are one shard's: 0 for a shard that the file leaves out.
std::size_t NodeCount(const ShardEntry& shard);

// As TensorBytes of backend/dtype.h, in any layout.
std::optional<Bytes> TensorBytes(DType dtype, std::span<const std::int64_t> shape,
                                 WeightLayout layout);

// "layers.3.mlp.experts.17.gate_proj.weight" and so on: the canonical names of a record's parts.
struct ExpertTensorNames {
  std::string gate, up, down;
};
ExpertTensorNames ExpertNames(LayerId layer, ExpertId expert);

// Gathers the record of one expert and checks that it is one: in one shard, in order, aligned,
// contiguous. In a shard that holds other things too a record starts on a leaf boundary
// (kLeafBytes), so that it can be checked by itself. Throws Error.
ExpertRecord FindExpertRecord(const Manifest& manifest, LayerId layer, ExpertId expert);

std::string_view StrategyName(ShardingStrategy strategy);
std::optional<ShardingStrategy> StrategyFromName(std::string_view name);
std::string_view ShardTypeName(ShardType type);
std::optional<ShardType> ShardTypeFromName(std::string_view name);
std::string_view LayoutName(WeightLayout layout);
std::optional<WeightLayout> LayoutFromName(std::string_view name);

}  // namespace doppler
