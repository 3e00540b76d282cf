#include "support/loopback.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {

sockaddr_in LoopbackAddress(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

int NewSocket() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  DOPPLER_CHECK(socket >= 0);
  return socket;
}

LoopbackListener::LoopbackListener(bool everywhere) : socket_(NewSocket()) {
  sockaddr_in address = LoopbackAddress(0);
  if (everywhere) address.sin_addr.s_addr = htonl(INADDR_ANY);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  DOPPLER_CHECK(::bind(socket_, any, size) == 0 && ::listen(socket_, SOMAXCONN) == 0 &&
                ::getsockname(socket_, any, &size) == 0);
  port_ = ntohs(address.sin_port);
}

LoopbackListener::~LoopbackListener() { ::close(socket_); }

std::optional<int> LoopbackListener::Accept(std::chrono::milliseconds wait) const {
  pollfd wanted = {socket_, POLLIN, 0};
  if (::poll(&wanted, 1, static_cast<int>(wait.count())) <= 0) return std::nullopt;
  const int socket = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
  return socket < 0 ? std::nullopt : std::optional(socket);
}

}  // namespace doppler
