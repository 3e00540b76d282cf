// The torrent is removed and added again with all that it knows, in a session that goes on: what
// libtorrent has no other way for.
//
// Files that are not here any more, or are damaged. BEP 54 has a message for it (lt_donthave), but
// libtorrent 2.0 sends that only when a read has failed, and nothing takes a piece out of its own
// list of what is there. Peers get a new bitfield.
//
// A ban that is undone, and connections that ask for few blocks at a time after an idle while.
#include <utility>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/alert_types.hpp>
#include <libtorrent/torrent_flags.hpp>
#include <libtorrent/torrent_info.hpp>
#include <libtorrent/torrent_status.hpp>

#include "base/error.h"
#include "swarm/worker/session.h"

namespace doppler {

namespace lt = libtorrent;

// How long connections that end are waited for before others are made.
constexpr std::chrono::milliseconds kMostForEnds(300);

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
  Renew();
}

// Those of which a peer has asked for a piece that is not right.
void SwarmSession::TakeDamaged() {
  for (const std::uint32_t file : check_->TakeDamaged()) {
    forgetting_.push_back(file);
    emit_(DamagedMessage{file});
    Renew();
  }
}

// Not before the torrent is checked: it would say of itself that it has not been, and one that is
// added so and is paused never is.
void SwarmSession::Renew() {
  if (!std::exchange(renewing_, true) && checked_) {
    torrent_.save_resume_data(lt::torrent_handle::save_info_dict);
  }
}

void SwarmSession::TakeChecked() {
  checked_ = true;
  resume_by_ = Clock::now() + kMostForEnds;
  if (std::exchange(renewing_, false)) Renew();
}

// With nothing to forget, what can wait is not done while something is wanted.
void SwarmSession::TakeResumeData(const lt::save_resume_data_alert& alert) {
  renewing_ = false;
  const bool matters = !forgetting_.empty() || !pardoned_.empty();
  if (matters || wanted_.IsIdle()) AddWithout(alert.params);
}

void SwarmSession::AddWithout(lt::add_torrent_params parameters) {
  const lt::torrent_status status = torrent_.status({});
  downloaded_before_ += static_cast<std::uint64_t>(status.total_payload_download);
  uploaded_before_ += static_cast<std::uint64_t>(status.total_payload_upload);
  const std::vector<std::uint32_t> forgotten = std::exchange(forgetting_, {});
  for (const std::uint32_t file : forgotten) {
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
  for (const PeerAddress& peer : std::exchange(pardoned_, {})) {
    const lt::tcp::endpoint endpoint(lt::make_address(peer.host), peer.port);
    std::erase(parameters.banned_peers, endpoint);
    parameters.peers.push_back(endpoint);
  }
  parameters.ti = std::make_shared<lt::torrent_info>(*parameters.ti);
  session_.remove_torrent(torrent_);
  Add(std::move(parameters));
  if (!forgotten.empty()) emit_(ForgottenMessage{});
}

// Peers are dialled at once when a torrent that is checked is resumed, and after that once a
// second. A peer that still has the connection before, which over TLS takes a moment to end,
// refuses another.
void SwarmSession::ResumeWhenAlone() {
  if (!resume_by_) return;
  if (watch_->connections() > 0 && Clock::now() < *resume_by_) return;
  resume_by_.reset();
  torrent_.resume();
}

}  // namespace doppler
