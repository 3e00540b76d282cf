// The info dictionary of a link, from peers (BEP 9).
#pragma once

#include <functional>
#include <vector>

#include "swarm/reach.h"
#include "swarm/torrent.h"

namespace doppler {

struct Description {
  Torrent torrent;
  std::vector<PeerAddress> peers;  // that were connected
};

// Asks peers until one has sent what has the link's hash. No file is touched. Calls `on_wait` a few
// times a second; what that throws ends the search. Throws Error for the info dictionary of
// something that is not a model, SwarmEndedError.
Description FetchDescription(const Digest& info_hash, const SwarmReach& reach,
                             const std::function<void(const StatusMessage&)>& on_wait);

}  // namespace doppler
