#include "model/streamed_layers.h"

#include <utility>

#include "base/error.h"

namespace doppler {

StreamedLayers::StreamedLayers(std::span<const LayerId> layers, Weights& weights,
                               WeightStream& stream)
    : weights_(weights),
      stream_(stream),
      index_of_(weights.layers.size(), kResident),
      buffer_of_(layers.size(), stream.first_buffer()) {
  DOPPLER_CHECK(layers.size() == stream.layers());
  for (std::size_t i = 0; i < layers.size(); ++i) index_of_[layers[i].index()] = i;
}

StreamLease StreamedLayers::PageIn(LayerId layer) {
  const std::size_t index = index_of_[layer.index()];
  if (IsResident(layer)) return {};
  StreamLease lease = stream_.Acquire(index);
  const std::byte* before = std::exchange(buffer_of_[index], lease.data());
  ForEachMatrix(weights_.layers[layer.index()],
                [&](WeightMatrix& matrix) { matrix.data = lease.data() + (matrix.data - before); });
  return lease;
}

}  // namespace doppler
