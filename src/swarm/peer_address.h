// Where a peer listens: an address of the internet protocol and a port.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace doppler {

struct PeerAddress {
  std::string host;  // "192.0.2.7" or "2001:db8::1"
  std::uint16_t port = 0;

  bool operator==(const PeerAddress&) const = default;
  bool operator<(const PeerAddress& other) const {
    return std::tie(host, port) < std::tie(other.host, other.port);
  }
};

// "192.0.2.7:6881", "[2001:db8::1]:6881".
std::string FormatPeer(const PeerAddress& peer);

// Reads an address as FormatPeer writes it: no names. Throws Error that names it.
PeerAddress ParsePeer(std::string_view text);

// A flag: as ParsePeer, or a name in place of the address, for which the system is asked; may
// block. One name can have several addresses. Throws UsageError for what is no address, and Error
// for a name that is not found.
std::vector<PeerAddress> ResolvePeer(const std::string& text);

// Whether the address belongs to a network of one's own: loopback, link-local, and the private and
// shared ranges of RFC 1918, 4193 and 6598.
bool IsPrivateAddress(const PeerAddress& peer);

}  // namespace doppler
