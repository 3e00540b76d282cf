#include "swarm/worker/peer_watch.h"

#include <algorithm>
#include <set>
#include <utility>

#include <libtorrent/peer_info.hpp>
#include <libtorrent/peer_request.hpp>
#include <libtorrent/piece_block.hpp>
#include <libtorrent/torrent_info.hpp>

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
  WatchedPeer(PeerWatch& watch, lt::peer_connection_handle peer)
      : watch_(watch), peer_(std::move(peer)) {
    ++watch_.connections_;
  }
  // With its connection, which ends when the other side has said so too.
  ~WatchedPeer() override { watch_.Ended(); }
  WatchedPeer(const WatchedPeer&) = delete;
  WatchedPeer& operator=(const WatchedPeer&) = delete;

  void sent_request(const lt::peer_request& request) override {
    piece_ = request.piece;
    if (asked_.insert(BlockOf(request)).second) pulse_.Asked(Clock::now());
  }
  void sent_cancel(const lt::peer_request& request) override { WillNotCome(request); }
  // Also of each block that it owes when it chokes.
  bool on_reject(const lt::peer_request& request) override {
    if (WillNotCome(request)) watch_.freed_ = true;
    return false;
  }
  // What was not asked for is no sign of life.
  bool on_piece(const lt::peer_request& request, lt::span<const char>) override {
    if (asked_.erase(BlockOf(request)) == 0) return false;
    pulse_.Came(Clock::now());
    watch_.Came(request.piece, peer_.remote());
    return false;
  }

  void on_disconnect(const lt::error_code&) override {
    if (pulse_.Owes()) watch_.freed_ = true;
  }

  bool IsGone() const { return peer_.native_handle() == nullptr || peer_.is_disconnecting(); }
  lt::piece_index_t piece() const { return piece_; }
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
    if (info.download_queue_length == 0) {
      asked_.clear();
      pulse_.OwesNothing();
    }
    const lt::piece_block coming(info.downloading_piece_index, info.downloading_block_index);
    const int part = asked_.count(coming) > 0 ? info.downloading_progress : 0;
    if (part != std::exchange(part_, part)) pulse_.Heard(now);
    return pulse_.Silence(now) < pulse_.Patience();
  }

  void Cut() { peer_.disconnect(lt::errors::timed_out_inactivity, lt::operation_t::bittorrent); }

 private:
  static lt::piece_block BlockOf(const lt::peer_request& request) {
    return {request.piece, request.start / lt::default_block_size};
  }
  // Whether it was to come.
  bool WillNotCome(const lt::peer_request& request) {
    if (asked_.erase(BlockOf(request)) == 0) return false;
    pulse_.NoLonger();
    return true;
  }

  PeerWatch& watch_;
  lt::peer_connection_handle peer_;
  PeerPulse pulse_;
  std::set<lt::piece_block> asked_;  // what is to come
  lt::piece_index_t piece_{0};       // the last that was asked for
  int part_ = 0;                     // bytes of the block that is coming, at the last look
};

std::shared_ptr<lt::peer_plugin> PeerWatch::new_connection(const lt::peer_connection_handle& peer) {
  auto watched = std::make_shared<WatchedPeer>(*this, peer);
  peers_.push_back(watched);
  return watched;
}

void PeerWatch::Ended() {
  if (--connections_ == 0) on_alone_();
}

bool PeerWatch::HasHelp(const WatchedPeer& silent, Clock::time_point now) const {
  return std::any_of(peers_.begin(), peers_.end(), [&](const auto& watched) {
    const auto peer = watched.lock();
    return peer != nullptr && peer.get() != &silent && peer->Helps(silent.piece(), now);
  });
}

bool PeerWatch::CutSilent(Clock::time_point now) {
  std::erase_if(peers_, [](const auto& watched) {
    const auto peer = watched.lock();
    return peer == nullptr || peer->IsGone();
  });
  for (const std::weak_ptr<WatchedPeer>& watched : peers_) {
    const auto peer = watched.lock();
    if (peer == nullptr) continue;
    const Clock::duration silence = peer->pulse().Silence(now);
    if (peer->IsGone() || silence < peer->pulse().Patience() || peer->ShowsLife(now)) continue;
    if (silence < kPatienceWithTheOnlyOne && !HasHelp(*peer, now)) continue;
    peer->Cut();
  }
  return std::exchange(freed_, false);
}

void PeerWatch::Came(lt::piece_index_t piece, const lt::tcp::endpoint& peer) {
  const std::lock_guard lock(mutex_);
  strikes_.Came(static_cast<int>(piece), peer);
}

void PeerWatch::on_piece_pass(lt::piece_index_t piece) {
  const std::lock_guard lock(mutex_);
  strikes_.Passed(static_cast<int>(piece));
}

void PeerWatch::on_piece_failed(lt::piece_index_t piece) {
  const std::lock_guard lock(mutex_);
  strikes_.Failed(static_cast<int>(piece));
}

bool PeerWatch::Pardons(const lt::tcp::endpoint& peer) {
  const std::lock_guard lock(mutex_);
  return strikes_.Pardons(peer);
}

}  // namespace doppler
