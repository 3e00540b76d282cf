// Addresses of peers as the system's calls take them.
#pragma once

#include <string>
#include <vector>

#include <sys/socket.h>

#include "swarm/peer_address.h"

namespace doppler {

struct SocketAddress {
  sockaddr_storage bytes{};
  socklen_t size = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&bytes); }
};

// Throws Error for a host that is no address.
SocketAddress ToSocketAddress(const PeerAddress& peer);

// The addresses of this machine from which the peers are reached, each once and with `port`.
// Nothing is sent. Those of networks to which there is no way are left out.
std::vector<PeerAddress> AddressesToward(const std::vector<PeerAddress>& peers, std::uint16_t port);

}  // namespace doppler
