// A TLS connection to a peer of a team, blocking, with bounded waits.
#pragma once

#include <memory>
#include <span>
#include <string>

#include <openssl/ssl.h>

#include "swarm/messages.h"

namespace doppler {

// Used by one thread. Every function throws Error, also when the peer is silent for some seconds.
class TlsConnection {
 public:
  // Connects, proves to be a member, and checks that the other one is. `server_name` tells which
  // torrent is meant.
  TlsConnection(const PeerAddress& peer, const StartMessage& member,
                const std::string& server_name);
  ~TlsConnection();
  TlsConnection(const TlsConnection&) = delete;
  TlsConnection& operator=(const TlsConnection&) = delete;

  void Write(std::string_view bytes);
  // REQUIRES: size is bounded by the caller, who got it from the peer.
  std::string Read(std::size_t size);

 private:
  int socket_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  std::unique_ptr<SSL, decltype(&SSL_free)> tls_;
};

}  // namespace doppler
