// Where peers are found, and who may be one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "swarm/messages.h"
#include "swarm/peer_address.h"

namespace doppler {

struct SwarmReach {
  std::vector<PeerAddress> peers;
  std::vector<std::string> trackers;
  std::vector<std::string> web_seeds;
  std::uint16_t port = 0;  // 0: any
  bool dht = true;
  bool local_discovery = true;
  bool peer_exchange = true;
  bool private_only = false;
  Bytes upload_limit = 0;  // per second; 0: none
};

// The part of a StartMessage that says so. In a private swarm nobody outside is asked.
StartMessage StartFor(const SwarmReach& reach);

}  // namespace doppler
