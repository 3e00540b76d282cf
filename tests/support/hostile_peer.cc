#include "support/hostile_peer.h"

#include <optional>
#include <string_view>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

namespace doppler {
namespace {

constexpr std::size_t kHandshake = 68;
constexpr std::size_t kBeforeReserved = 20;
constexpr int kWaitMilliseconds = 10;
constexpr std::uint32_t kTwoGigabytes = 0x7fffffff;
constexpr std::size_t kBlock = 16384;
// Of messages about the info dictionary; Doppler's number for them is the same.
constexpr char kInfoId = 2;
constexpr std::size_t kHashBytes = 32;
// Root, and four numbers: base layer, index, length, proof layers (BEP 52).
constexpr std::size_t kHashRequest = kHashBytes + 16;

enum Kind : unsigned char {
  kUnchoke = 1,
  kHave = 4,
  kBitfield = 5,
  kRequest = 6,
  kPiece = 7,
  kExtended = 20,
  kHashRequested = 21,
  kHashes = 22,
};

std::string Number(std::uint32_t value) {
  std::string bytes;
  for (unsigned shift = 32; shift > 0; shift -= 8) {
    bytes += static_cast<char>(value >> (shift - 8) & 0xffu);
  }
  return bytes;
}

std::uint32_t NumberAt(std::string_view bytes, std::size_t place) {
  std::uint32_t value = 0;
  for (const char byte : bytes.substr(place, 4)) {
    value = value << 8u | static_cast<unsigned char>(byte);
  }
  return value;
}

}  // namespace

// One connection.
class HostilePeer::Script {
 public:
  Script(HostilePeer& peer, int socket) : peer_(peer), socket_(socket) {}

  void Play() {
    const std::optional<std::string> hello = Read(kHandshake);
    if (!hello) return;
    std::string answer = *hello;
    const bool about_info = InfoBytes() > 0;
    answer.replace(
        kBeforeReserved, 8,
        std::string("\0\0\0\0\0", 5) + (about_info ? '\x10' : '\0') + std::string("\0\x10", 2));
    // Of two peers with one name only one is spoken to.
    std::string name = "-XX0000-" + std::to_string(peer_.port());
    name.resize(20, '-');
    answer.replace(kHandshake - name.size(), name.size(), name);
    Write(answer);
    Begin(about_info);
    while (const std::optional<std::string> size = Read(4)) {
      const std::optional<std::string> message = Read(NumberAt(*size, 0));
      if (!message) break;
      if (!message->empty()) Answer((*message)[0], message->substr(1));
    }
    if (did_ && !peer_.stop_) ++peer_.dropped_;
  }

 private:
  // That it says its info dictionary has; 0: it does not speak of one.
  std::uint32_t InfoBytes() const {
    switch (peer_.trick_) {
      case PeerTrick::kWrongInfo:
        return 1000;
      case PeerTrick::kHugeInfo:
        return kTwoGigabytes;
      case PeerTrick::kSlowInfo:
        return 1u << 20;
      default:
        return 0;
    }
  }

  void Begin(bool about_info) {
    if (about_info) {
      Say(kExtended, std::string("\0", 1) + "d1:md11:ut_metadatai" + std::to_string(kInfoId) +
                         "ee13:metadata_sizei" + std::to_string(InfoBytes()) + "ee");
      if (peer_.trick_ != PeerTrick::kWrongInfo) Did();
      return;
    }
    std::string bits((peer_.pieces_ + 7) / 8, '\xff');
    if (peer_.pieces_ % 8 != 0) {
      bits.back() = static_cast<char>(0xffu << (8 - peer_.pieces_ % 8) & 0xffu);
    }
    if (peer_.trick_ == PeerTrick::kWrongBitfield) bits += "more";
    Say(kBitfield, bits);
    if (peer_.trick_ == PeerTrick::kHugeMessage) Write(Number(kTwoGigabytes) + "\x07 and so on");
    if (peer_.trick_ == PeerTrick::kGarbage) Write(std::string(4096, '\xa5'));
    if (peer_.trick_ == PeerTrick::kWrongBitfield || peer_.trick_ == PeerTrick::kHugeMessage ||
        peer_.trick_ == PeerTrick::kGarbage) {
      Did();
    }
    // libtorrent asks for hashes when it hears of a piece, and not of a bitfield.
    Say(kHave, Number(0));
    Say(kUnchoke, "");
    unchoked_ = true;
  }

  void Answer(char kind, const std::string& body) {
    switch (static_cast<unsigned char>(kind)) {
      case kRequest:
        return AnswerRequest(body);
      case kHashRequested:
        return AnswerHashes(body);
      case kExtended:
        return AnswerInfo(body);
      default:
        return;
    }
  }

  // While nothing is asked.
  void Bother() {
    if (!unchoked_ || peer_.trick_ != PeerTrick::kUnaskedBlocks) return;
    Say(kPiece, Number(0) + Number(0) + std::string(kBlock, 'x'));
    Did();
  }

  void AnswerRequest(const std::string& body) {
    if (body.size() != 12) return;
    const std::string block(NumberAt(body, 8), 'x');
    if (peer_.trick_ == PeerTrick::kLongBlocks) {
      Say(kPiece, body.substr(0, 8) + block + block);
      Did();
    } else if (peer_.trick_ == PeerTrick::kBlocksBeyondTheEnd) {
      Say(kPiece,
          Number(static_cast<std::uint32_t>(peer_.pieces_) + 7) + body.substr(4, 4) + block);
      Did();
    }
  }

  void AnswerHashes(const std::string& body) {
    if (body.size() != kHashRequest) return;
    std::size_t count = NumberAt(body, kHashBytes + 8);
    const std::size_t proof = NumberAt(body, kHashBytes + 12);
    std::size_t layers = 0;  // of the proof, that follow from the hashes themselves
    while ((count >> (layers + 1)) > 1) ++layers;
    if (proof > layers) count += proof - layers;
    if (peer_.trick_ == PeerTrick::kFewerHashes) count /= 2;
    Say(kHashes, body + std::string(count * kHashBytes, 'h'));
    Did();
  }

  void AnswerInfo(const std::string& body) {
    // A wish for a part, by the number that Begin gave.
    if (body.empty() || body[0] != kInfoId || peer_.trick_ != PeerTrick::kWrongInfo) return;
    Say(kExtended, std::string(1, kInfoId) + "d8:msg_typei1e5:piecei0e10:total_sizei1000ee" +
                       std::string(1000, 'i'));
    Did();
  }

  void Did() {
    did_ = true;
    ++peer_.tricks_;
  }
  void Say(unsigned char kind, const std::string& body) {
    Write(Number(static_cast<std::uint32_t>(body.size()) + 1) + static_cast<char>(kind) + body);
  }
  void Write(std::string_view bytes) {
    while (!bytes.empty() && !peer_.stop_) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  // Nothing at the end of the connection.
  std::optional<std::string> Read(std::size_t size) {
    std::string bytes;
    while (bytes.size() < size) {
      pollfd wanted = {socket_, POLLIN, 0};
      if (peer_.stop_) return std::nullopt;
      if (::poll(&wanted, 1, kWaitMilliseconds) <= 0) {
        Bother();
        continue;
      }
      std::string more(size - bytes.size(), '\0');
      const ssize_t got = ::recv(socket_, more.data(), more.size(), 0);
      if (got <= 0) return std::nullopt;
      bytes.append(more, 0, static_cast<std::size_t>(got));
    }
    return bytes;
  }

  HostilePeer& peer_;
  const int socket_;
  bool unchoked_ = false;
  bool did_ = false;
};

HostilePeer::HostilePeer(PeerTrick trick, std::size_t pieces) : trick_(trick), pieces_(pieces) {
  thread_ = std::thread([this] { Run(); });
}

HostilePeer::~HostilePeer() {
  stop_ = true;
  thread_.join();
}

void HostilePeer::Run() {
  while (!stop_) {
    const auto socket = listener_.Accept(std::chrono::milliseconds(kWaitMilliseconds));
    if (!socket) continue;
    Script(*this, *socket).Play();
    ::close(*socket);
  }
}

}  // namespace doppler
