#include "support/hostile_peer.h"

#include <optional>

#include "support/peer_wire.h"

namespace doppler {
namespace {

constexpr std::uint32_t kTwoGigabytes = 0x7fffffff;
constexpr std::chrono::milliseconds kWait(10);
// Of messages about the info dictionary; Doppler's number for them is the same.
constexpr char kInfoId = 2;
constexpr std::size_t kHashBytes = 32;

}  // namespace

// One connection.
class HostilePeer::Script {
 public:
  Script(HostilePeer& peer, int socket) : peer_(peer), wire_(socket, peer.port(), peer.stop_) {}

  void Play() {
    const bool about_info = InfoBytes() > 0;
    if (!wire_.Greet(about_info)) return;
    Begin(about_info);
    while (const auto message = wire_.Next([this] { Bother(); })) {
      Answer(message->kind, message->body);
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
      wire_.Say(PeerMessage::kExtended, std::string("\0", 1) + "d1:md11:ut_metadatai" +
                                            std::to_string(kInfoId) + "ee13:metadata_sizei" +
                                            std::to_string(InfoBytes()) + "ee");
      if (peer_.trick_ != PeerTrick::kWrongInfo) Did();
      return;
    }
    std::string bits = FullBitfield(peer_.pieces_);
    if (peer_.trick_ == PeerTrick::kWrongBitfield) bits += "more";
    wire_.Say(PeerMessage::kBitfield, bits);
    if (peer_.trick_ == PeerTrick::kHugeMessage)
      wire_.Write(WireNumber(kTwoGigabytes) + "\x07 and so on");
    if (peer_.trick_ == PeerTrick::kGarbage) wire_.Write(std::string(4096, '\xa5'));
    if (peer_.trick_ == PeerTrick::kWrongBitfield || peer_.trick_ == PeerTrick::kHugeMessage ||
        peer_.trick_ == PeerTrick::kGarbage) {
      Did();
    }
    // libtorrent asks for hashes when it hears of a piece, and not of a bitfield.
    wire_.Say(PeerMessage::kHave, WireNumber(0));
    wire_.Say(PeerMessage::kUnchoke);
    unchoked_ = true;
  }

  void Answer(PeerMessage kind, const std::string& body) {
    switch (kind) {
      case PeerMessage::kRequest:
        return AnswerRequest(body);
      case PeerMessage::kHashRequest:
        return AnswerHashes(body);
      case PeerMessage::kExtended:
        return AnswerInfo(body);
      default:
        return;
    }
  }

  // While nothing is asked.
  void Bother() {
    if (!unchoked_ || peer_.trick_ != PeerTrick::kUnaskedBlocks) return;
    wire_.Say(PeerMessage::kPiece, WireNumber(0) + WireNumber(0) + std::string(kWireBlock, 'x'));
    Did();
  }

  void AnswerRequest(const std::string& body) {
    if (body.size() != kRequestBytes) return;
    const std::string block(WireNumberAt(body, 8), 'x');
    if (peer_.trick_ == PeerTrick::kLongBlocks) {
      wire_.Say(PeerMessage::kPiece, body.substr(0, 8) + block + block);
      Did();
    } else if (peer_.trick_ == PeerTrick::kBlocksBeyondTheEnd) {
      wire_.Say(PeerMessage::kPiece, WireNumber(static_cast<std::uint32_t>(peer_.pieces_) + 7) +
                                         body.substr(4, 4) + block);
      Did();
    }
  }

  void AnswerHashes(const std::string& body) {
    if (body.size() != kHashRequestBytes) return;
    std::size_t count = WireNumberAt(body, kHashBytes + 8);
    const std::size_t proof = WireNumberAt(body, kHashBytes + 12);
    std::size_t layers = 0;  // of the proof, that follow from the hashes themselves
    while ((count >> (layers + 1)) > 1) ++layers;
    if (proof > layers) count += proof - layers;
    if (peer_.trick_ == PeerTrick::kFewerHashes) count /= 2;
    wire_.Say(PeerMessage::kHashes, body + std::string(count * kHashBytes, 'h'));
    Did();
  }

  void AnswerInfo(const std::string& body) {
    // A wish for a part, by the number that Begin gave.
    if (body.empty() || body[0] != kInfoId || peer_.trick_ != PeerTrick::kWrongInfo) return;
    wire_.Say(PeerMessage::kExtended, std::string(1, kInfoId) +
                                          "d8:msg_typei1e5:piecei0e10:total_sizei1000ee" +
                                          std::string(1000, 'i'));
    Did();
  }

  void Did() {
    did_ = true;
    ++peer_.tricks_;
  }

  HostilePeer& peer_;
  PeerWire wire_;
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
    if (const auto socket = listener_.Accept(kWait)) Script(*this, *socket).Play();
  }
}

}  // namespace doppler
