// An honest peer that is taken for a liar, and the liar: two peers that follow one script, which
// brings about what chance seldom does.
//
//   1. The liar alone lets itself be asked, sends two wrong blocks of each piece of a file, and
//      chokes.
//   2. The honest peer sends the other blocks; the last ones when it has been asked for all of
//      them. Each piece comes with a wrong hash, and both had a part in it.
//   3. Both are called again, or the script ends here. The liar sends whole pieces until its
//      connection is ended; then the honest peer sends whatever is asked.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "support/loopback.h"
#include "support/peer_wire.h"

namespace doppler {

// Both listen on 127.0.0.1. For tests: a system call that fails ends this process.
class BlamedPeer {
 public:
  explicit BlamedPeer(ServedFile file);
  // Closes all connections.
  ~BlamedPeer();
  BlamedPeer(const BlamedPeer&) = delete;
  BlamedPeer& operator=(const BlamedPeer&) = delete;

  std::uint16_t honest_port() const { return honest_.port(); }
  std::uint16_t liar_port() const { return liar_.port(); }
  // The number of the script's part that is being played.
  int part() const { return part_; }

 private:
  void Run();
  void LieInEachPiece(PeerWire& liar);
  void CompleteEachPiece(PeerWire& honest);
  std::size_t Pieces() const { return file_.bytes.size() / file_.piece_bytes; }

  const ServedFile file_;
  const LoopbackListener honest_;
  const LoopbackListener liar_;
  std::atomic<bool> stop_{false};
  std::atomic<int> part_{1};
  std::thread thread_;
};

}  // namespace doppler
