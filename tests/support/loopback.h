// Sockets of peers in tests: TCP over 127.0.0.1.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include <netinet/in.h>

namespace doppler {

sockaddr_in LoopbackAddress(std::uint16_t port);

// A TCP socket, which whoever asks closes.
int NewSocket();

// Listens on a port that is free.
class LoopbackListener {
 public:
  // On 127.0.0.1, or on all of the machine's addresses.
  explicit LoopbackListener(bool everywhere = false);
  ~LoopbackListener();
  LoopbackListener(const LoopbackListener&) = delete;
  LoopbackListener& operator=(const LoopbackListener&) = delete;

  std::uint16_t port() const { return port_; }
  int descriptor() const { return socket_; }
  // The next connection, if one comes within `wait`; the caller closes it.
  std::optional<int> Accept(std::chrono::milliseconds wait) const;

 private:
  int socket_;
  std::uint16_t port_ = 0;
};

}  // namespace doppler
