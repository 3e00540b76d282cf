#include "swarm/worker/free_port.h"

#include <cerrno>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace doppler {
namespace {

// Binds at all addresses of a protocol (0: to any port) and gives the port; 0 if it is taken.
std::uint16_t Bind(int family, int type, std::uint16_t port, int* kept) {
  const int socket = ::socket(family, type | SOCK_CLOEXEC, 0);
  if (socket < 0) return errno == EAFNOSUPPORT ? port : std::uint16_t{0};
  *kept = socket;
  // An IPv6 socket would take the port of IPv4, too.
  const int on = 1;
  if (family == AF_INET6) ::setsockopt(socket, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  sockaddr_storage storage{};
  auto* const address = reinterpret_cast<sockaddr*>(&storage);
  socklen_t size = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  storage.ss_family = static_cast<sa_family_t>(family);
  // The port is at the same place in both.
  auto* const in = reinterpret_cast<sockaddr_in*>(&storage);
  in->sin_port = htons(port);
  if (::bind(socket, address, size) != 0) return errno == EADDRNOTAVAIL ? port : std::uint16_t{0};
  if (::getsockname(socket, address, &size) != 0) return 0;
  return ntohs(in->sin_port);
}

// The sockets of an attempt, which hold the port until all of them are bound.
struct Held {
  int sockets[4] = {-1, -1, -1, -1};
  Held() = default;
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    for (const int socket : sockets) {
      if (socket >= 0) ::close(socket);
    }
  }
};

std::uint16_t TryPort() {
  Held held;
  const std::uint16_t port = Bind(AF_INET, SOCK_STREAM, 0, &held.sockets[0]);
  if (port == 0) return 0;
  const bool all = Bind(AF_INET, SOCK_DGRAM, port, &held.sockets[1]) == port &&
                   Bind(AF_INET6, SOCK_STREAM, port, &held.sockets[2]) == port &&
                   Bind(AF_INET6, SOCK_DGRAM, port, &held.sockets[3]) == port;
  return all ? port : std::uint16_t{0};
}

}  // namespace

std::uint16_t FreePort() {
  constexpr int kAttempts = 20;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (const std::uint16_t port = TryPort(); port != 0) return port;
  }
  return 0;
}

}  // namespace doppler
