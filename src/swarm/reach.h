// Where peers are found, and who may be one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "swarm/messages.h"
#include "swarm/peer_address.h"
#include "swarm/team.h"

namespace doppler {

struct SwarmReach {
  std::vector<PeerAddress> peers;
  std::vector<std::string> trackers;
  std::vector<std::string> web_seeds;
  std::uint16_t port = 0;  // 0: any
  bool dht = true;
  std::vector<PeerAddress> dht_nodes = {};  // of a DHT to use in place of the public one
  bool local_discovery = true;
  bool peer_exchange = true;
  bool private_only = false;
  std::optional<Team> team = {};  // whose member takes part; nothing: the model is nobody's
  Bytes upload_limit = 0;         // per second; 0: none

  const Team* TeamOrNull() const { return team ? &*team : nullptr; }
  // What the torrent of a model has of the team, empty without one; what its link has.
  std::string Authority() const { return team ? team->authority : std::string(); }
  std::optional<Digest> TeamHash() const {
    return team ? std::optional(doppler::TeamHash(team->authority)) : std::nullopt;
  }
};

// The part of a StartMessage that says so. In a private swarm nobody outside is asked, and
// the public DHT is never told what a team shares.
StartMessage StartFor(const SwarmReach& reach);

}  // namespace doppler
