#include "support/blamed_peer.h"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"

namespace doppler {
namespace {

constexpr int kLiesInAPiece = 2;

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
    const auto liar = MeetPeer(liar_, file_, stop_);
    const auto honest = MeetPeer(honest_, file_, stop_);
    if (liar == nullptr || honest == nullptr) return;
    LieInEachPiece(*liar);
    part_ = 2;
    CompleteEachPiece(*honest);
    while (liar->Next()) continue;
    while (honest->Next()) continue;
  }
  part_ = 3;
  const auto liar = MeetPeer(liar_, file_, stop_);
  const auto honest = MeetPeer(honest_, file_, stop_);
  if (liar == nullptr || honest == nullptr) return;
  ServeBlocks(*liar, file_, false);
  ServeBlocks(*honest, file_, true);
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
    SendBlock(liar, file_, *request, false);
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
      SendBlock(honest, file_, *request, true);
    }
  }
  for (const std::string& request : last) SendBlock(honest, file_, request, true);
}

}  // namespace doppler
