// What the peers of a swarm have of a model, counted from what they say of themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "format/manifest.h"
#include "swarm/messages.h"
#include "swarm/torrent.h"

namespace doppler {

// One who has a part of the model.
struct Holder {
  PeerState peer;              // of this machine: without an address
  std::optional<double> rate;  // bytes per second from it; nothing if it was not measured
  std::size_t pieces = 0;      // how many it has
  std::size_t experts = 0;     // whole
};

// An expert's shard.
struct ExpertHolders {
  std::string file;  // "shards/00012.bin"
  int layer = 0;
  int expert = 0;
  std::size_t holders = 0;  // who have all of it
  std::size_t holder = 0;   // one of them, in Inventory::holders
};

struct Inventory {
  std::string name;
  std::size_t pieces = 0;
  std::vector<Holder> holders;
  std::vector<ExpertHolders> experts;  // all there are

  // [number of holders], how many experts have so many.
  std::vector<std::size_t> CountByHolders() const;
};

// The torrent's shards of single experts, by layer and expert. Throws Error if the manifest is not
// the torrent's.
std::vector<ExpertHolders> ExpertsOf(const Torrent& torrent, const Manifest& manifest);

// REQUIRES: each holder's `pieces` has a bit for each piece of the torrent, or none.
Inventory CountHolders(const Torrent& torrent, std::vector<ExpertHolders> experts,
                       std::vector<Holder> holders);

// Printable ASCII, at most 48 characters: names come from strangers.
std::string PlainClientName(const std::string& name);

}  // namespace doppler
