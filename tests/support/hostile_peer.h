// A peer that speaks BitTorrent (BEP 3, 9, 10, 52) by a script and does one thing wrong, again with
// each connection, for tests of those who trust no peer.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "support/loopback.h"

namespace doppler {

enum class PeerTrick : std::uint8_t {
  kWrongHashes,         // answers for hash trees with hashes of nothing
  kFewerHashes,         // and with fewer than it says
  kLongBlocks,          // blocks that are twice as long as asked
  kBlocksBeyondTheEnd,  // blocks of a piece that there is not
  kWrongBitfield,       // a bitfield that is too long
  kHugeMessage,         // a message of 2 GiB
  kGarbage,             // bytes without meaning
  kUnaskedBlocks,       // blocks of its first piece, again and again, and nothing that is asked
  kWrongInfo,           // an info dictionary of other bytes
  kHugeInfo,            // an info dictionary of 2 GiB
  kSlowInfo,            // one of 1 MiB that does not come
};

// Listens on 127.0.0.1. For tests: a system call that fails ends this process.
class HostilePeer {
 public:
  // `pieces`: of the torrent, all of which it says it has.
  HostilePeer(PeerTrick trick, std::size_t pieces);
  // Closes all connections.
  ~HostilePeer();
  HostilePeer(const HostilePeer&) = delete;
  HostilePeer& operator=(const HostilePeer&) = delete;

  std::uint16_t port() const { return listener_.port(); }
  // How often it did what it does wrong.
  int tricks() const { return tricks_; }
  // How often the other side ended the connection after that.
  int dropped() const { return dropped_; }

 private:
  class Script;
  void Run();

  const PeerTrick trick_;
  const std::size_t pieces_;
  const LoopbackListener listener_;
  std::atomic<bool> stop_{false};
  std::atomic<int> tricks_{0};
  std::atomic<int> dropped_{0};
  std::thread thread_;
};

}  // namespace doppler
