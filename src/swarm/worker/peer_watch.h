// Cuts off peers that have gone silent while they owe blocks, so that others are asked for these.
//
// A machine that has lost its network, or a process that hangs, keeps its connections open: without
// this an expert waits until libtorrent asks elsewhere, block by block and every few seconds.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <libtorrent/extensions.hpp>
#include <libtorrent/peer_connection_handle.hpp>

#include "base/stopwatch.h"
#include "swarm/strikes.h"

namespace doppler {

class WatchedPeer;

// In libtorrent's thread, but for what any thread may call.
class PeerWatch final : public libtorrent::torrent_plugin {
 public:
  // `on_alone` is called when the last connection has ended, from libtorrent's thread.
  explicit PeerWatch(std::function<void()> on_alone) : on_alone_(std::move(on_alone)) {}

  std::shared_ptr<libtorrent::peer_plugin> new_connection(
      const libtorrent::peer_connection_handle& peer) override;

  // To be called a few times a second. Whether peers that owed blocks are gone, cut off or on their
  // own, or have refused some: these can be asked for anew.
  bool CutSilent(Clock::time_point now);

  void on_piece_pass(libtorrent::piece_index_t piece) override;
  void on_piece_failed(libtorrent::piece_index_t piece) override;

  // Any thread. Connections that there are, with those that are just ending.
  int connections() const { return connections_; }
  // Any thread. See Strikes.
  bool Pardons(const libtorrent::tcp::endpoint& peer);

 private:
  friend class WatchedPeer;

  bool HasHelp(const WatchedPeer& silent, Clock::time_point now) const;
  // Block of a piece that was asked for.
  void Came(libtorrent::piece_index_t piece, const libtorrent::tcp::endpoint& peer);
  void Ended();

  const std::function<void()> on_alone_;
  std::atomic<int> connections_{0};
  std::vector<std::weak_ptr<WatchedPeer>> peers_;  // which their connections own
  bool freed_ = false;                             // blocks that a peer owed, since the last look
  std::mutex mutex_;                               // guards what follows
  Strikes<libtorrent::tcp::endpoint> strikes_;
};

}  // namespace doppler
