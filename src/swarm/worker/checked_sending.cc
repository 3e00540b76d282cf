#include "swarm/worker/checked_sending.h"

#include <libtorrent/peer_request.hpp>

namespace doppler {
namespace {

namespace lt = libtorrent;

class CheckedPeer final : public lt::peer_plugin {
 public:
  CheckedPeer(std::shared_ptr<PieceCheck> check, std::function<void()> on_damaged)
      : check_(std::move(check)), on_damaged_(std::move(on_damaged)) {}

  // A request is left unanswered until the torrent is added anew without the file, which ends the
  // connection. What is no piece of the torrent is for libtorrent to refuse.
  bool on_request(const lt::peer_request& request) override {
    if (!check_->Has(static_cast<int>(request.piece))) return false;
    if (check_->MaySend(static_cast<std::size_t>(static_cast<int>(request.piece)))) return false;
    on_damaged_();
    return true;
  }

 private:
  const std::shared_ptr<PieceCheck> check_;
  const std::function<void()> on_damaged_;
};

}  // namespace

std::shared_ptr<lt::peer_plugin> CheckedSending::new_connection(
    const lt::peer_connection_handle& /*peer*/) {
  return std::make_shared<CheckedPeer>(check_, on_damaged_);
}

}  // namespace doppler
