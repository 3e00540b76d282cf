// Keeps damaged pieces from being sent.
#pragma once

#include <memory>
#include <utility>

#include <libtorrent/extensions.hpp>
#include <libtorrent/peer_connection_handle.hpp>

#include "swarm/piece_check.h"

namespace doppler {

// In libtorrent's thread.
class CheckedSending final : public libtorrent::torrent_plugin {
 public:
  explicit CheckedSending(std::shared_ptr<PieceCheck> check) : check_(std::move(check)) {}

  std::shared_ptr<libtorrent::peer_plugin> new_connection(
      const libtorrent::peer_connection_handle& peer) override;

 private:
  const std::shared_ptr<PieceCheck> check_;
};

}  // namespace doppler
