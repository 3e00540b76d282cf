#include "support/blamed_peer.h"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"

namespace doppler {
namespace {

constexpr std::chrono::milliseconds kPatience(10);
constexpr int kLiesInAPiece = 2;

// The body of the next message that asks for a block; nothing when the connection has ended.
std::optional<std::string> NextRequest(PeerWire& peer) {
  constexpr std::size_t kRequestBytes = 12;  // piece, offset, length
  while (auto message = peer.Next()) {
    if (message->kind == PeerMessage::kRequest && message->body.size() == kRequestBytes) {
      return std::move(message->body);
    }
  }
  return std::nullopt;
}

}  // namespace

BlamedPeer::BlamedPeer(ServedFile file) : file_(std::move(file)) {
  DOPPLER_CHECK(file_.bytes.size() % file_.piece_bytes == 0);
  thread_ = std::thread([this] { Run(); });
}

BlamedPeer::~BlamedPeer() {
  stop_ = true;
  thread_.join();
}

void BlamedPeer::Run() {
  {
    const auto liar = Meet(liar_);
    const auto honest = Meet(honest_);
    if (liar == nullptr || honest == nullptr) return;
    LieInEachPiece(*liar);
    part_ = 2;
    CompleteEachPiece(*honest);
    while (liar->Next()) continue;
    while (honest->Next()) continue;
  }
  part_ = 3;
  const auto liar = Meet(liar_);
  const auto honest = Meet(honest_);
  if (liar == nullptr || honest == nullptr) return;
  Serve(*liar, false);
  Serve(*honest, true);
}

// Somebody who has called and is greeted; nothing when the test is over.
std::unique_ptr<PeerWire> BlamedPeer::Meet(const LoopbackListener& listener) const {
  while (!stop_) {
    const std::optional<int> socket = listener.Accept(kPatience);
    if (!socket) continue;
    auto peer = std::make_unique<PeerWire>(*socket, listener.port(), stop_);
    if (!peer->Greet(false)) continue;
    peer->Say(PeerMessage::kBitfield, FullBitfield(file_.pieces_of_torrent));
    return peer;
  }
  return nullptr;
}

// Leaving the others open, it is asked for more than it sends, and so of every piece.
void BlamedPeer::LieInEachPiece(PeerWire& liar) {
  liar.Say(PeerMessage::kUnchoke);
  std::map<std::uint32_t, int> lies;  // [piece]
  std::size_t done = 0;
  while (done < Pieces()) {
    const std::optional<std::string> request = NextRequest(liar);
    if (!request) return;
    int& count = lies[WireNumberAt(*request, 0)];
    if (count == kLiesInAPiece) continue;
    Send(liar, *request, false);
    if (++count == kLiesInAPiece) ++done;
  }
  // Says as well that the other blocks will not come, so that they are free for another peer.
  liar.Say(PeerMessage::kChoke);
  liar.AwaitTaken();
}

// Once a piece has failed it would not be asked for parts of another.
void BlamedPeer::CompleteEachPiece(PeerWire& honest) {
  honest.Say(PeerMessage::kUnchoke);
  const std::size_t missing = file_.piece_bytes / kWireBlock - kLiesInAPiece;
  std::map<std::uint32_t, std::size_t> sent;  // [piece]
  std::vector<std::string> last;
  while (last.size() < Pieces()) {
    const std::optional<std::string> request = NextRequest(honest);
    if (!request) return;
    if (++sent[WireNumberAt(*request, 0)] == missing) {
      last.push_back(*request);
    } else {
      Send(honest, *request, true);
    }
  }
  for (const std::string& request : last) Send(honest, request, true);
}

// Until the connection ends.
void BlamedPeer::Serve(PeerWire& peer, bool honestly) const {
  peer.Say(PeerMessage::kUnchoke);
  while (const auto request = NextRequest(peer)) Send(peer, *request, honestly);
}

void BlamedPeer::Send(PeerWire& peer, const std::string& request, bool honestly) const {
  const std::size_t place =
      std::size_t{WireNumberAt(request, 0) - file_.first_piece} * file_.piece_bytes +
      WireNumberAt(request, 4);
  const std::size_t size = WireNumberAt(request, 8);
  DOPPLER_CHECK(place + size <= file_.bytes.size());
  const std::string block = honestly ? file_.bytes.substr(place, size) : std::string(size, 'x');
  peer.Say(PeerMessage::kPiece, request.substr(0, 8) + block);
}

}  // namespace doppler
