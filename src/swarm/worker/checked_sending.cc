#include "swarm/worker/checked_sending.h"

#include <libtorrent/peer_request.hpp>

namespace doppler {
namespace {

namespace lt = libtorrent;

class CheckedPeer final : public lt::peer_plugin {
 public:
  explicit CheckedPeer(std::shared_ptr<PieceCheck> check) : check_(std::move(check)) {}

  // A request is left unanswered until the torrent is added anew without the file, which ends the
  // connection. What is no piece of the torrent is for libtorrent to refuse.
  bool on_request(const lt::peer_request& request) override {
    const int piece = static_cast<int>(request.piece);
    return check_->Has(piece) && !check_->MaySend(static_cast<std::size_t>(piece));
  }

 private:
  const std::shared_ptr<PieceCheck> check_;
};

}  // namespace

std::shared_ptr<lt::peer_plugin> CheckedSending::new_connection(
    const lt::peer_connection_handle& /*peer*/) {
  return std::make_shared<CheckedPeer>(check_);
}

}  // namespace doppler
