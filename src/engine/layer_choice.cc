#include "engine/layer_choice.h"

#include <algorithm>
#include <functional>
#include <set>
#include <tuple>

namespace doppler {
namespace {

// The sizes that buffers may have, largest first; those within a sixteenth count as one.
std::vector<Bytes> BufferSizes(std::span<const Bytes> layers) {
  const std::set<Bytes, std::greater<>> sizes(layers.begin(), layers.end());
  std::vector<Bytes> kept;
  for (const Bytes size : sizes) {
    if (kept.empty() || size < kept.back() - kept.back() / 16) kept.push_back(size);
  }
  return kept;
}

// Of the layers of at most `largest` bytes, `spread` stay; all larger ones do.
LayerChoice Choose(Bytes ends, std::span<const Bytes> layers, Bytes largest, std::size_t small,
                   std::size_t spread) {
  LayerChoice choice{.resident = ends};
  Bytes buffer = 0;
  std::size_t seen = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    bool stays = layers[i] > largest;
    if (!stays) {
      stays = (seen + 1) * spread / small > seen * spread / small;
      ++seen;
    }
    if (stays) {
      choice.resident += layers[i];
      continue;
    }
    choice.streamed += layers[i];
    choice.streamed_layers.push_back(LayerId(i));
    buffer = std::max(buffer, layers[i]);
  }
  choice.buffers = kStreamBuffers * buffer;
  return choice;
}

}  // namespace

std::vector<LayerChoice> LayerChoices(Bytes ends, std::span<const Bytes> layers,
                                      std::size_t most_resident) {
  std::vector<LayerChoice> choices;
  for (const Bytes largest : BufferSizes(layers)) {
    const auto small = static_cast<std::size_t>(std::count_if(
        layers.begin(), layers.end(), [largest](Bytes size) { return size <= largest; }));
    const std::size_t large = layers.size() - small;
    for (std::size_t spread = 0; spread < small && large + spread <= most_resident; ++spread) {
      choices.push_back(Choose(ends, layers, largest, small, spread));
    }
  }
  std::sort(choices.begin(), choices.end(), [](const LayerChoice& a, const LayerChoice& b) {
    return std::tuple(a.streamed, a.resident + a.buffers) <
           std::tuple(b.streamed, b.resident + b.buffers);
  });
  return choices;
}

}  // namespace doppler
