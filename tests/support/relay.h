// A TCP relay for tests: a peer behind it is far away, or behind a slow line.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>
#include <thread>

#include "support/loopback.h"

namespace doppler {

struct RelayOptions {
  std::uint16_t to = 0;                // port on 127.0.0.1
  std::chrono::milliseconds delay{0};  // in each direction
  bool everywhere = false;             // listen on all addresses
  std::uint64_t rate = 0;              // bytes per second in each direction and connection; 0: any
  // Gets what passes, of all connections and directions, from the relay's thread.
  std::function<void(std::string_view)> listen = {};
};

// Listens, on 127.0.0.1 unless told otherwise, and forwards what comes, late and slowly. For tests:
// a system call that fails ends this process.
class Relay {
 public:
  explicit Relay(const RelayOptions& options);
  // Closes all connections.
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  std::uint16_t port() const { return listener_.port(); }

 private:
  void Run();

  const RelayOptions options_;
  const LoopbackListener listener_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace doppler
