// Which layers keep their dense weights in memory when not all can: a pure function of their sizes.
#pragma once

#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"

namespace doppler {

// Buffers that the other layers are read into, each as large as the largest of these. The next
// layer is read while one is computed with.
inline constexpr std::size_t kStreamBuffers = 2;

struct LayerChoice {
  Bytes resident = 0;  // dense weights that stay: what belongs to no layer, and the other layers
  Bytes buffers = 0;
  Bytes streamed = 0;                         // read in each pass
  std::vector<LayerId> streamed_layers = {};  // ascending
};

// What can be done with layers of these sizes, `ends` being resident in any case: choices with up
// to `most_resident` resident layers and at least one other, those that read least first. Resident
// layers are spread evenly over the others, so that the device reads while they are computed with.
// Layers that are much larger than others may all stay, which makes the buffers smaller.
std::vector<LayerChoice> LayerChoices(Bytes ends, std::span<const Bytes> layers,
                                      std::size_t most_resident);

}  // namespace doppler
