#include "swarm/worker/peer_watch.h"

#include <algorithm>
#include <utility>

#include <libtorrent/peer_info.hpp>
#include <libtorrent/peer_request.hpp>

#include "swarm/peer_pulse.h"

namespace doppler {
namespace {

namespace lt = libtorrent;

// A peer without which nothing comes is left alone for longer. Then its connection may be what is
// broken, and a new one is made.
constexpr std::chrono::seconds kPatienceWithTheOnlyOne(10);

}  // namespace

class WatchedPeer final : public lt::peer_plugin {
 public:
  explicit WatchedPeer(lt::peer_connection_handle peer) : peer_(std::move(peer)) {}

  void sent_request(const lt::peer_request& request) override {
    piece_ = request.piece;
    pulse_.Asked(Clock::now());
  }
  void sent_cancel(const lt::peer_request&) override { pulse_.NoLonger(); }
  bool on_reject(const lt::peer_request&) override {
    pulse_.NoLonger();
    return false;
  }
  bool on_piece(const lt::peer_request&, lt::span<const char> block) override {
    whole_ += block.size();
    pulse_.Came(Clock::now());
    return false;
  }

  void on_disconnect(const lt::error_code&) override { left_owing_ = pulse_.Owes(); }

  bool IsGone() const { return peer_.native_handle() == nullptr || peer_.is_disconnecting(); }
  lt::piece_index_t piece() const { return piece_; }
  bool LeftOwing() const { return left_owing_; }
  const PeerPulse& pulse() const { return pulse_; }

  // It would send this piece if it were asked.
  bool Helps(lt::piece_index_t piece, Clock::time_point now) const {
    return !IsGone() && !peer_.is_connecting() && !peer_.in_handshake() &&
           !peer_.has_peer_choked() && peer_.has_piece(piece) &&
           pulse_.Silence(now) < pulse_.Patience();
  }

  // What the pulse cannot see: parts of a block, and requests that were dropped without a word.
  bool ShowsLife(Clock::time_point now) {
    lt::peer_info info;
    peer_.get_peer_info(info);
    if (info.download_queue_length == 0) pulse_.OwesNothing();
    const std::int64_t part = info.total_download - whole_;
    if (part != std::exchange(part_, part)) pulse_.Heard(now);
    return pulse_.Silence(now) < pulse_.Patience();
  }

  void Cut() { peer_.disconnect(lt::errors::timed_out_inactivity, lt::operation_t::bittorrent); }

 private:
  lt::peer_connection_handle peer_;
  PeerPulse pulse_;
  lt::piece_index_t piece_{0};  // the last that was asked for
  bool left_owing_ = false;
  std::int64_t whole_ = 0;  // bytes of blocks that came
  std::int64_t part_ = 0;   // of one that is coming, at the last look
};

std::shared_ptr<lt::peer_plugin> PeerWatch::new_connection(const lt::peer_connection_handle& peer) {
  return peers_.emplace_back(std::make_shared<WatchedPeer>(peer));
}

bool PeerWatch::HasHelp(const WatchedPeer& silent, Clock::time_point now) const {
  return std::any_of(peers_.begin(), peers_.end(), [&](const auto& peer) {
    return peer.get() != &silent && peer->Helps(silent.piece(), now);
  });
}

bool PeerWatch::CutSilent(Clock::time_point now) {
  for (const std::shared_ptr<WatchedPeer>& peer : peers_) {
    const Clock::duration silence = peer->pulse().Silence(now);
    if (peer->IsGone() || silence < peer->pulse().Patience() || peer->ShowsLife(now)) continue;
    if (silence < kPatienceWithTheOnlyOne && !HasHelp(*peer, now)) continue;
    peer->Cut();
  }
  const bool left_owing =
      std::any_of(peers_.begin(), peers_.end(), [](const auto& peer) { return peer->LeftOwing(); });
  std::erase_if(peers_, [](const auto& peer) { return peer->IsGone(); });
  return left_owing;
}

}  // namespace doppler
