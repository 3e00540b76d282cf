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

// In memory that holds extents one after the other:
// where the tensors stand that they cover,
std::unordered_map<std::string, Bytes> PlaceTensors(const Artifact& artifact,
                                                    std::span<const Extent> extents,
                                                    std::span<const std::string> names);
// and parts that can each be read and verified alone, of `step` bytes where that is possible.
struct PlacedExtent {
  Extent extent;
  Bytes place = 0;
};
std::vector<PlacedExtent> CutIntoReads(const Artifact& artifact, std::span<const Extent> extents,
                                       Bytes step);

// A tensor whose bytes stand at `data`, as a matrix; one of one dimension counts as one row.
WeightMatrix MatrixOf(const TensorEntry& tensor, const std::byte* data);

// Immutable once loaded; any thread may read.
class DenseWeights {
 public:
  // Reads and verifies the tensors, on all threads of `pool`, past the page cache. Throws Error for
  // a missing tensor, a damaged shard, or a budget that is too small, InterruptedError on Ctrl-C.
  DenseWeights(const Artifact& artifact, std::span<const std::string> names, MemoryBudget& budget,
               ThreadPool& pool);

  bool Holds(const std::string& name) const { return tensors_.contains(name); }
  // REQUIRES: it holds `name`.
  std::span<const std::byte> Data(const std::string& name) const;
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
