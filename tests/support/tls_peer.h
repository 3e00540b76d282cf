// Peers that speak TLS and stop at nothing, for tests of who is let in.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "support/loopback.h"

namespace doppler {

// PEM texts; empty: it shows no certificate.
struct TlsIdentity {
  std::string certificate;
  std::string private_key;
};

// Connects to a port of this machine, checks nothing, says `hello` and gives the first bytes that
// come back, or nothing if the connection ends before.
std::string AskOverTls(std::uint16_t port, const TlsIdentity& identity,
                       const std::string& server_name, std::string_view hello);
// The same without TLS.
std::string AskInPlain(std::uint16_t port, std::string_view hello);

// A server that shows a certificate which is not good, and counts who falls for it. For tests: a
// system call that fails ends this process.
class TlsImpostor {
 public:
  explicit TlsImpostor(TlsIdentity identity);
  ~TlsImpostor();
  TlsImpostor(const TlsImpostor&) = delete;
  TlsImpostor& operator=(const TlsImpostor&) = delete;

  std::uint16_t port() const { return listener_.port(); }
  int connections() const { return connections_; }
  // Of these, sent something after they had seen the certificate.
  int fooled() const { return fooled_; }

 private:
  void Run();

  const TlsIdentity identity_;
  const LoopbackListener listener_;
  std::atomic<bool> stop_{false};
  std::atomic<int> connections_{0};
  std::atomic<int> fooled_{0};
  std::thread thread_;
};

}  // namespace doppler
