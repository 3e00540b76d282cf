#include "tier/dense_weights.h"

#include <algorithm>
#include <exception>
#include <mutex>

#include "base/error.h"
#include "base/interrupt.h"

namespace doppler {
namespace {

// One request: large enough for the disk's full rate, small enough to share among threads.
constexpr Bytes kPortion = 4 * kMiB;

}  // namespace

std::vector<Extent> CoverTensors(const Artifact& artifact, std::span<const std::string> names) {
  std::vector<Extent> extents;
  for (const std::string& name : names) {
    const TensorEntry& tensor = artifact.manifest().Tensor(name);
    extents.push_back(artifact.Cover(tensor.shard, tensor.offset, tensor.size));
  }
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::pair(a.shard, a.offset) < std::pair(b.shard, b.offset);
  });
  std::vector<Extent> merged;
  for (const Extent& extent : extents) {
    const bool touches = !merged.empty() && merged.back().shard == extent.shard &&
                         extent.offset <= merged.back().offset + merged.back().size;
    if (!touches) {
      merged.push_back(extent);
      continue;
    }
    const Bytes end =
        std::max(merged.back().offset + merged.back().size, extent.offset + extent.size);
    merged.back().size = end - merged.back().offset;
  }
  return merged;
}

Bytes TotalSize(std::span<const Extent> extents) {
  Bytes total = 0;
  for (const Extent& extent : extents) total += extent.size;
  return total;
}

std::unordered_map<std::string, Bytes> PlaceTensors(const Artifact& artifact,
                                                    std::span<const Extent> extents,
                                                    std::span<const std::string> names) {
  std::unordered_map<std::string, Bytes> places;
  for (const std::string& name : names) {
    const TensorEntry& tensor = artifact.manifest().Tensor(name);
    Bytes place = 0;
    for (const Extent& extent : extents) {
      const bool inside = extent.shard == tensor.shard && tensor.offset >= extent.offset &&
                          tensor.offset < extent.offset + extent.size;
      if (inside) {
        places[name] = place + (tensor.offset - extent.offset);
        break;
      }
      place += extent.size;
    }
  }
  return places;
}

std::vector<PlacedExtent> CutIntoReads(const Artifact& artifact, std::span<const Extent> extents,
                                       Bytes step) {
  std::vector<PlacedExtent> reads;
  Bytes place = 0;
  for (const Extent& extent : extents) {
    const bool whole = artifact.Shard(extent.shard).type == ShardType::kExpert;
    const Bytes most = whole ? extent.size : step;
    for (Bytes done = 0; done < extent.size; done += most) {
      const Bytes size = std::min(most, extent.size - done);
      reads.push_back({.extent = {extent.shard, extent.offset + done, size}, .place = place});
      place += size;
    }
  }
  return reads;
}

WeightMatrix MatrixOf(const TensorEntry& tensor, const std::byte* data) {
  const bool vector = tensor.shape.size() == 1;
  return {.data = data,
          .dtype = tensor.dtype,
          .rows = vector ? 1 : static_cast<int>(tensor.shape[0]),
          .cols = static_cast<int>(tensor.shape.back()),
          .layout = tensor.layout};
}

DenseWeights::DenseWeights(const Artifact& artifact, std::span<const std::string> names,
                           MemoryBudget& budget, ThreadPool& pool)
    : artifact_(artifact) {
  const std::vector<Extent> extents = CoverTensors(artifact, names);
  reservation_ =
      budget.ReserveOrThrow(TotalSize(extents), "the dense weights", "raise --host-memory");
  memory_ = MappedMemory(TotalSize(extents));
  Load(artifact, extents, pool);
  for (const auto& [name, place] : PlaceTensors(artifact, extents, names)) {
    tensors_[name] = memory_.data() + place;
  }
}

void DenseWeights::Load(const Artifact& artifact, std::span<const Extent> extents,
                        ThreadPool& pool) {
  const std::vector<PlacedExtent> portions = CutIntoReads(artifact, extents, kPortion);
  std::mutex mutex;
  std::exception_ptr failure;
  pool.ParallelFor(portions.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      try {
        ThrowIfInterrupted();
        const PlacedExtent& portion = portions[i];
        ReadVerified(artifact, portion.extent,
                     {memory_.data() + portion.place, portion.extent.size});
      } catch (...) {
        const std::lock_guard lock(mutex);
        failure = std::current_exception();
      }
    }
  });
  if (failure) std::rethrow_exception(failure);
}

std::span<const std::byte> DenseWeights::Data(const std::string& name) const {
  const auto found = tensors_.find(name);
  DOPPLER_CHECK(found != tensors_.end());
  return {found->second, artifact_.manifest().Tensor(name).size};
}

WeightMatrix DenseWeights::Matrix(const std::string& name) const {
  return MatrixOf(artifact_.manifest().Tensor(name), Data(name).data());
}

}  // namespace doppler
