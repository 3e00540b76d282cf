// Cuts off peers that have gone silent while they owe blocks, so that others are asked for these.
//
// A machine that has lost its network, or a process that hangs, keeps its connections open: without
// this an expert waits until libtorrent asks elsewhere, block by block and every few seconds.
#pragma once

#include <memory>
#include <vector>

#include <libtorrent/extensions.hpp>
#include <libtorrent/peer_connection_handle.hpp>

#include "base/stopwatch.h"

namespace doppler {

class WatchedPeer;

// Everything in libtorrent's thread.
class PeerWatch final : public libtorrent::torrent_plugin {
 public:
  std::shared_ptr<libtorrent::peer_plugin> new_connection(
      const libtorrent::peer_connection_handle& peer) override;

  // To be called a few times a second. Whether peers are gone that owed blocks, cut off or on their
  // own: these can be asked for anew.
  bool CutSilent(Clock::time_point now);

 private:
  bool HasHelp(const WatchedPeer& silent, Clock::time_point now) const;

  std::vector<std::shared_ptr<WatchedPeer>> peers_;
};

}  // namespace doppler
