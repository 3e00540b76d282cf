// Keeps damaged pieces from being sent.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include <libtorrent/extensions.hpp>
#include <libtorrent/peer_connection_handle.hpp>

#include "swarm/piece_check.h"

namespace doppler {

// In libtorrent's thread.
class CheckedSending final : public libtorrent::torrent_plugin {
 public:
  // `on_damaged` is called when `check` has damaged files to tell of.
  CheckedSending(std::shared_ptr<PieceCheck> check, std::function<void()> on_damaged)
      : check_(std::move(check)), on_damaged_(std::move(on_damaged)) {}

  std::shared_ptr<libtorrent::peer_plugin> new_connection(
      const libtorrent::peer_connection_handle& peer) override;

 private:
  const std::shared_ptr<PieceCheck> check_;
  const std::function<void()> on_damaged_;
};

}  // namespace doppler
