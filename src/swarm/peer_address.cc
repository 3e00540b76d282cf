#include "swarm/peer_address.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/error.h"

namespace doppler {
namespace {

constexpr std::size_t kMostAddressBytes = 300;

struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};

HostPort Split(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  const bool plain =
      text.size() <= kMostAddressBytes &&
      std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!plain || colon == std::string_view::npos) {
    Throw("'{}' is not a peer's address; write HOST:PORT, or [ADDRESS]:PORT for IPv6",
          plain ? text : "this");
  }
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  HostPort result;
  const auto [end, status] =
      std::from_chars(digits.data(), digits.data() + digits.size(), result.port);
  if (status != std::errc() || end != digits.data() + digits.size() || result.port == 0) {
    Throw("'{}' does not end with a port, 1 to 65535", text);
  }
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty() || bracketed != (host.find(':') != std::string_view::npos)) {
    Throw("'{}' is not a peer's address; write HOST:PORT, or [ADDRESS]:PORT for IPv6", text);
  }
  result.host = host;
  return result;
}

std::string Printed(int family, const void* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(family, address, text.data(), text.size());
  return text.data();
}

HostPort SplitFlag(const std::string& text) {
  try {
    return Split(text);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

// The address in its one spelling; empty if it is none.
std::string Canonical(const std::string& host) {
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return Printed(AF_INET, &v4);
  in6_addr v6{};
  if (::inet_pton(AF_INET6, host.c_str(), &v6) == 1) return Printed(AF_INET6, &v6);
  return {};
}

bool IsPrivateV4(std::uint32_t address) {
  struct Range {
    std::uint32_t prefix;
    int bits;
  };
  constexpr std::array<Range, 6> kRanges = {{{0x7f000000, 8},
                                             {0x0a000000, 8},
                                             {0xac100000, 12},
                                             {0xc0a80000, 16},
                                             {0xa9fe0000, 16},
                                             {0x64400000, 10}}};
  return std::any_of(kRanges.begin(), kRanges.end(), [address](const Range& range) {
    return ((address ^ range.prefix) >> (32 - range.bits)) == 0;
  });
}

bool IsPrivateV6(const in6_addr& address) {
  const auto* bytes = static_cast<const std::uint8_t*>(address.s6_addr);
  return IN6_IS_ADDR_LOOPBACK(&address) || (bytes[0] & 0xfeu) == 0xfcu ||
         (bytes[0] == 0xfe && (bytes[1] & 0xc0u) == 0x80u);
}

}  // namespace

std::string FormatPeer(const PeerAddress& peer) {
  const bool v6 = peer.host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", peer.host, peer.port)
            : fmt::format("{}:{}", peer.host, peer.port);
}

PeerAddress ParsePeer(std::string_view text) {
  const HostPort split = Split(text);
  const std::string host = Canonical(split.host);
  if (host.empty()) Throw("'{}' has a name where an address must stand", text);
  return {.host = host, .port = split.port};
}

std::vector<PeerAddress> ResolvePeer(const std::string& text) {
  const HostPort split = SplitFlag(text);
  if (const std::string host = Canonical(split.host); !host.empty()) return {{host, split.port}};
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int status = ::getaddrinfo(split.host.c_str(), nullptr, &hints, &list);
  if (status != 0) Throw("cannot find the peer '{}': {}", text, ::gai_strerror(status));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, &::freeaddrinfo);
  std::vector<PeerAddress> peers;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    std::array<char, NI_MAXHOST> host{};
    if (::getnameinfo(entry->ai_addr, entry->ai_addrlen, host.data(), host.size(), nullptr, 0,
                      NI_NUMERICHOST) != 0) {
      continue;
    }
    if (std::string name = Canonical(host.data()); !name.empty()) {
      peers.push_back({.host = std::move(name), .port = split.port});
    }
  }
  if (peers.empty()) Throw("the peer '{}' has no address", text);
  return peers;
}

bool IsPrivateAddress(const PeerAddress& peer) {
  in_addr v4{};
  if (::inet_pton(AF_INET, peer.host.c_str(), &v4) == 1) return IsPrivateV4(ntohl(v4.s_addr));
  in6_addr v6{};
  return ::inet_pton(AF_INET6, peer.host.c_str(), &v6) == 1 && IsPrivateV6(v6);
}

}  // namespace doppler
