#include "swarm/reach.h"

namespace doppler {

StartMessage StartFor(const SwarmReach& reach) {
  StartMessage start;
  start.peers = reach.peers;
  start.trackers = reach.trackers;
  start.web_seeds = reach.web_seeds;
  start.port = reach.port;
  start.dht = reach.dht && !reach.private_only && !reach.team;
  start.dht_nodes = reach.dht_nodes;
  start.local_discovery = reach.local_discovery && !reach.private_only;
  start.peer_exchange = reach.peer_exchange && !reach.private_only;
  start.private_only = reach.private_only;
  start.upload_limit = reach.upload_limit;
  if (reach.team) {
    start.authority = reach.team->authority;
    start.certificate = reach.team->member.certificate;
    start.private_key = reach.team->member.private_key;
  }
  return start;
}

}  // namespace doppler
