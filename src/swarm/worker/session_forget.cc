// Files that are not here any more, in a session that goes on.
//
// BEP 54 has a message for it (lt_donthave), but libtorrent 2.0 sends that only when a read has
// failed, and nothing takes a piece out of its own list of what is there. So the torrent is removed
// and added again with all that it knows, but for the files: peers are disconnected and get a new
// bitfield.
#include <utility>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/torrent_flags.hpp>
#include <libtorrent/torrent_info.hpp>
#include <libtorrent/torrent_status.hpp>

#include "base/error.h"
#include "swarm/worker/session.h"

namespace doppler {

namespace lt = libtorrent;

void SwarmSession::Forget(const ForgetMessage& message) {
  if (start_.task != StartMessage::Task::kOnDemand || !forgetting_.empty()) {
    Throw("a message that does not belong here");
  }
  for (const std::uint32_t file : message.files) {
    if (file >= files_.size()) Throw("a file to forget that there is not");
    wanted_.Forget(file);
  }
  if (message.files.empty()) return emit_(ForgottenMessage{});
  forgetting_ = message.files;
  torrent_.save_resume_data(lt::torrent_handle::save_info_dict);
}

void SwarmSession::AddWithout(lt::add_torrent_params parameters) {
  const lt::torrent_status status = torrent_.status({});
  downloaded_before_ += static_cast<std::uint64_t>(status.total_payload_download);
  uploaded_before_ += static_cast<std::uint64_t>(status.total_payload_upload);
  for (const std::uint32_t file : std::exchange(forgetting_, {})) {
    for (int i = first_piece_[file]; i < first_piece_[file + 1]; ++i) {
      if (i < parameters.have_pieces.size()) parameters.have_pieces.clear_bit(lt::piece_index_t(i));
      parameters.unfinished_pieces.erase(lt::piece_index_t(i));
    }
  }
  parameters.file_priorities.clear();
  parameters.piece_priorities.clear();
  for (std::size_t file = 0; file < files_.size(); ++file) {
    const std::uint8_t priority = wanted_.PriorityOf(static_cast<std::uint32_t>(file));
    const auto pieces = static_cast<std::size_t>(first_piece_[file + 1] - first_piece_[file]);
    parameters.piece_priorities.insert(parameters.piece_priorities.end(), pieces,
                                       lt::download_priority_t(priority));
  }
  // Of those that are connected now: the others are in its list.
  for (const PeerAddress& peer : Connected()) {
    parameters.peers.emplace_back(lt::make_address(peer.host), peer.port);
  }
  parameters.ti = std::make_shared<lt::torrent_info>(*parameters.ti);
  session_.remove_torrent(torrent_);
  Add(std::move(parameters));
  emit_(ForgottenMessage{});
}

}  // namespace doppler
