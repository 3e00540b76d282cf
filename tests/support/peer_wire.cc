#include "support/peer_wire.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {
namespace {

constexpr std::size_t kHandshake = 68;
constexpr std::size_t kBeforeReserved = 20;
constexpr std::size_t kNameBytes = 20;
constexpr int kWaitMilliseconds = 10;

}  // namespace

std::string WireNumber(std::uint32_t value) {
  std::string bytes;
  for (unsigned shift = 32; shift > 0; shift -= 8) {
    bytes += static_cast<char>(value >> (shift - 8) & 0xffu);
  }
  return bytes;
}

std::uint32_t WireNumberAt(std::string_view bytes, std::size_t place) {
  std::uint32_t value = 0;
  for (const char byte : bytes.substr(place, 4)) {
    value = value << 8u | static_cast<unsigned char>(byte);
  }
  return value;
}

std::string FullBitfield(std::size_t pieces) {
  std::string bits((pieces + 7) / 8, '\xff');
  if (pieces % 8 != 0) bits.back() = static_cast<char>(0xffu << (8 - pieces % 8) & 0xffu);
  return bits;
}

PeerWire::PeerWire(int socket, std::uint16_t port, const std::atomic<bool>& stop)
    : socket_(socket), port_(port), stop_(stop) {}

PeerWire::~PeerWire() { ::close(socket_); }

bool PeerWire::Greet(bool extended) {
  std::optional<std::string> hello = Read(kHandshake, {});
  if (!hello) return false;
  hello->replace(
      kBeforeReserved, 8,
      std::string("\0\0\0\0\0", 5) + (extended ? '\x10' : '\0') + std::string("\0\x10", 2));
  // Of two peers with one name only one is spoken to.
  std::string name = "-XX0000-" + std::to_string(port_);
  name.resize(kNameBytes, '-');
  hello->replace(kHandshake - kNameBytes, kNameBytes, name);
  Write(*hello);
  return true;
}

void PeerWire::Say(PeerMessage kind, std::string_view body) {
  std::string message = WireNumber(static_cast<std::uint32_t>(body.size()) + 1);
  message += static_cast<char>(kind);
  Write(message += body);
}

void PeerWire::Write(std::string_view bytes) {
  while (!bytes.empty() && !stop_) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void PeerWire::AwaitTaken() {
  // There is no file with this root, which is answered at once.
  Say(PeerMessage::kHashRequest, std::string(kHashRequestBytes, '\0'));
  while (const auto message = Next()) {
    if (message->kind == PeerMessage::kHashReject) return;
  }
}

std::optional<PeerWire::Received> PeerWire::Next(const std::function<void()>& idle) {
  for (;;) {
    const std::optional<std::string> size = Read(4, idle);
    if (!size) return std::nullopt;
    const std::optional<std::string> message = Read(WireNumberAt(*size, 0), idle);
    if (!message) return std::nullopt;
    if (message->empty()) continue;  // only says that it is there
    return Received{PeerMessage(message->front()), message->substr(1)};
  }
}

std::unique_ptr<PeerWire> MeetPeer(const LoopbackListener& listener, const ServedFile& file,
                                   const std::atomic<bool>& stop) {
  while (!stop) {
    const auto socket = listener.Accept(std::chrono::milliseconds(kWaitMilliseconds));
    if (!socket) continue;
    auto peer = std::make_unique<PeerWire>(*socket, listener.port(), stop);
    if (!peer->Greet(false)) continue;
    peer->Say(PeerMessage::kBitfield, FullBitfield(file.pieces_of_torrent));
    return peer;
  }
  return nullptr;
}

std::optional<std::string> NextRequest(PeerWire& peer) {
  while (auto message = peer.Next()) {
    if (message->kind == PeerMessage::kRequest && message->body.size() == kRequestBytes) {
      return std::move(message->body);
    }
  }
  return std::nullopt;
}

void SendBlock(PeerWire& peer, const ServedFile& file, const std::string& request, bool honestly) {
  const std::size_t place =
      std::size_t{WireNumberAt(request, 0) - file.first_piece} * file.piece_bytes +
      WireNumberAt(request, 4);
  const std::size_t size = WireNumberAt(request, 8);
  DOPPLER_CHECK(place + size <= file.bytes.size());
  const std::string block = honestly ? file.bytes.substr(place, size) : std::string(size, 'x');
  peer.Say(PeerMessage::kPiece, request.substr(0, 8) + block);
}

void ServeBlocks(PeerWire& peer, const ServedFile& file, bool honestly) {
  peer.Say(PeerMessage::kUnchoke);
  while (const auto request = NextRequest(peer)) SendBlock(peer, file, *request, honestly);
}

// Nothing at the end of the connection.
std::optional<std::string> PeerWire::Read(std::size_t size, const std::function<void()>& idle) {
  std::string bytes;
  while (bytes.size() < size) {
    pollfd wanted = {socket_, POLLIN, 0};
    if (stop_) return std::nullopt;
    if (::poll(&wanted, 1, kWaitMilliseconds) <= 0) {
      if (idle) idle();
      continue;
    }
    std::string more(size - bytes.size(), '\0');
    const ssize_t got = ::recv(socket_, more.data(), more.size(), 0);
    if (got <= 0) return std::nullopt;
    bytes.append(more, 0, static_cast<std::size_t>(got));
  }
  return bytes;
}

}  // namespace doppler
