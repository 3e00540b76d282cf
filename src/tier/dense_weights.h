// The weights that every token needs (all but the routed experts), resident for the whole run.
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/backend.h"
#include "base/bytes.h"
#include "base/thread_pool.h"
#include "io/mapped_memory.h"
#include "store/artifact.h"
#include "tier/budget.h"

namespace doppler {

// The extents that cover `names`, merged where they touch, by shard and offset.
std::vector<Extent> CoverTensors(const Artifact& artifact, std::span<const std::string> names);
Bytes TotalSize(std::span<const Extent> extents);

// Immutable once loaded; any thread may read.
class DenseWeights {
 public:
  // Reads and verifies the tensors, on all threads of `pool`, past the page cache. Throws Error for
  // a missing tensor, a damaged shard, or a budget that is too small, InterruptedError on Ctrl-C.
  DenseWeights(const Artifact& artifact, std::span<const std::string> names, MemoryBudget& budget,
               ThreadPool& pool);

  // REQUIRES: `name` was among the names.
  std::span<const std::byte> Data(const std::string& name) const;
  // A tensor of one dimension counts as one row.
  WeightMatrix Matrix(const std::string& name) const;

  Bytes size() const { return memory_.size(); }

 private:
  void Load(const Artifact& artifact, std::span<const Extent> extents, ThreadPool& pool);

  const Artifact& artifact_;
  Reservation reservation_;
  MappedMemory memory_;
  std::unordered_map<std::string, const std::byte*> tensors_;
};

}  // namespace doppler
