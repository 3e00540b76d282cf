// The wire of BitTorrent (BEP 3, 9, 10, 52), for peers in tests that follow a script.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "support/loopback.h"

namespace doppler {

inline constexpr std::size_t kWireBlock = 16384;
// The body of a wish for a block: piece, offset, length.
inline constexpr std::size_t kRequestBytes = 3 * 4;
// The body of a wish for hashes: root, base layer, index, length, proof layers.
inline constexpr std::size_t kHashRequestBytes = 32 + 4 * 4;

// Kinds of messages.
enum class PeerMessage : std::uint8_t {
  kChoke = 0,
  kUnchoke = 1,
  kHave = 4,
  kBitfield = 5,
  kRequest = 6,
  kPiece = 7,
  kExtended = 20,
  kHashRequest = 21,
  kHashes = 22,
  kHashReject = 23,
};

// Numbers of four bytes, the highest first.
std::string WireNumber(std::uint32_t value);
std::uint32_t WireNumberAt(std::string_view bytes, std::size_t place);
// The bitfield of a peer that has all pieces of a torrent.
std::string FullBitfield(std::size_t pieces);

// A connection that somebody has made to a peer of a test. Used by one thread.
class PeerWire {
 public:
  // Takes over `socket`. `port`, on which the peer listens, tells it from others. Whatever waits
  // ends when `stop` is true.
  PeerWire(int socket, std::uint16_t port, const std::atomic<bool>& stop);
  ~PeerWire();
  PeerWire(const PeerWire&) = delete;
  PeerWire& operator=(const PeerWire&) = delete;

  // Answers the other side's handshake: a peer of version 2, and with `extended` one that has
  // messages of BEP 10. False if the connection ends before.
  bool Greet(bool extended);

  void Say(PeerMessage kind, std::string_view body = {});
  void Write(std::string_view bytes);
  // Waits until the other side has taken what was said before: messages are answered in order.
  void AwaitTaken();

  struct Received {
    PeerMessage kind;
    std::string body;
  };
  // Waits for the next message; nothing when the connection has ended. `idle` is called now and
  // then meanwhile.
  std::optional<Received> Next(const std::function<void()>& idle = {});

 private:
  std::optional<std::string> Read(std::size_t size, const std::function<void()>& idle);

  const int socket_;
  const std::uint16_t port_;
  const std::atomic<bool>& stop_;
};

// The one file of a torrent that somebody lacks.
struct ServedFile {
  std::size_t pieces_of_torrent = 0;
  std::uint32_t first_piece = 0;
  std::uint32_t piece_bytes = 0;
  std::string bytes;  // whole blocks
};

// Somebody who calls, is greeted and told that all pieces are here; nothing once `stop` is true.
std::unique_ptr<PeerWire> MeetPeer(const LoopbackListener& listener, const ServedFile& file,
                                   const std::atomic<bool>& stop);
// The body of the next message that asks for a block; nothing when the connection has ended.
std::optional<std::string> NextRequest(PeerWire& peer);
// Sends the block that `request` asks for, or as many other bytes.
void SendBlock(PeerWire& peer, const ServedFile& file, const std::string& request, bool honestly);
// Lets itself be asked and sends that until the connection ends.
void ServeBlocks(PeerWire& peer, const ServedFile& file, bool honestly);

}  // namespace doppler
