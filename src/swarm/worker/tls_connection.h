// What TLS with the peers of a team needs: a connection of our own, blocking, with bounded waits,
// and what libtorrent wants for its connections.
#pragma once

#include <memory>
#include <string>
#include <string_view>

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

// What libtorrent wants beside a certificate and its key: public parameters of a key exchange
// (ffdhe2048, RFC 7919) as PEM text. TLS 1.3 does not use them.
std::string DhParameters();

}  // namespace doppler
