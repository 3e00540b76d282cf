#include "swarm/worker/socket_address.h"

#include <algorithm>
#include <array>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {

SocketAddress ToSocketAddress(const PeerAddress& peer) {
  SocketAddress address;
  auto* const v4 = reinterpret_cast<sockaddr_in*>(&address.bytes);
  auto* const v6 = reinterpret_cast<sockaddr_in6*>(&address.bytes);
  if (::inet_pton(AF_INET, peer.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(peer.port);
    address.size = sizeof(sockaddr_in);
  } else if (::inet_pton(AF_INET6, peer.host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(peer.port);
    address.size = sizeof(sockaddr_in6);
  } else {
    Throw("'{}' is not an address", peer.host);
  }
  return address;
}

std::vector<PeerAddress> AddressesToward(const std::vector<PeerAddress>& peers,
                                         std::uint16_t port) {
  std::vector<PeerAddress> addresses;
  for (const PeerAddress& peer : peers) {
    SocketAddress address = ToSocketAddress(peer);
    const int socket = ::socket(address.bytes.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket < 0) continue;
    const bool known =
        ::connect(socket, address.get(), address.size) == 0 &&
        ::getsockname(socket, reinterpret_cast<sockaddr*>(&address.bytes), &address.size) == 0;
    ::close(socket);
    if (!known) continue;
    std::array<char, INET6_ADDRSTRLEN> host{};
    const auto* const v4 = reinterpret_cast<const sockaddr_in*>(&address.bytes);
    const auto* const v6 = reinterpret_cast<const sockaddr_in6*>(&address.bytes);
    const bool is_v4 = address.bytes.ss_family == AF_INET;
    const void* const number = is_v4 ? static_cast<const void*>(&v4->sin_addr) : &v6->sin6_addr;
    ::inet_ntop(address.bytes.ss_family, number, host.data(), host.size());
    const PeerAddress own = {.host = host.data(), .port = port};
    if (std::find(addresses.begin(), addresses.end(), own) == addresses.end()) {
      addresses.push_back(own);
    }
  }
  return addresses;
}

}  // namespace doppler
