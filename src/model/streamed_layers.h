// The layers whose dense weights are read anew in every pass: it points their matrices to wherever
// the weight stream has put them.
#pragma once

#include <span>
#include <vector>

#include "base/ids.h"
#include "model/weights.h"
#include "tier/weight_stream.h"

namespace doppler {

// One thread at a time. What it is given outlives it.
class StreamedLayers {
 public:
  // `layers` are those of the stream, in the same order. REQUIRES: the matrices of these layers
  // stand in `weights` as in the stream's first buffer.
  StreamedLayers(std::span<const LayerId> layers, Weights& weights, WeightStream& stream);

  // Waits until the weights of a layer are there; they stay as long as the lease. Nothing to do for
  // a layer that is resident. Does not allocate, unless it throws: Error if they cannot be read.
  // REQUIRES: no lease is held.
  StreamLease PageIn(LayerId layer);

  bool IsResident(LayerId layer) const { return index_of_[layer.index()] == kResident; }

 private:
  static constexpr std::size_t kResident = ~std::size_t{0};

  Weights& weights_;
  WeightStream& stream_;
  std::vector<std::size_t> index_of_;        // [layer], in the stream, or kResident
  std::vector<const std::byte*> buffer_of_;  // [index], where its matrices point to
};

}  // namespace doppler
