#include "swarm/worker/session.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

#include <libtorrent/alert_types.hpp>
#include <libtorrent/disabled_disk_io.hpp>
#include <libtorrent/peer_info.hpp>
#include <libtorrent/posix_disk_io.hpp>
#include <libtorrent/session_params.hpp>
#include <libtorrent/torrent_flags.hpp>
#include <libtorrent/torrent_status.hpp>

#include "base/error.h"
#include "swarm/torrent.h"
#include "swarm/torrent_rules.h"
#include "swarm/worker/settings.h"

namespace doppler {
namespace {

namespace lt = libtorrent;
using Task = StartMessage::Task;

// Its answer is news too, and must not be asked for as soon as it has come.
constexpr std::chrono::milliseconds kTickInterval(200);
constexpr std::chrono::milliseconds kWatchInterval(100);
constexpr std::chrono::seconds kRedialInterval(1);
constexpr std::chrono::seconds kLayersInterval(1);
// How long libtorrent's thread may be kept from its peers by LayersSeconds.
constexpr double kMostLayersSeconds = 0.02;

lt::session_params SessionParameters(const StartMessage& start) {
  // The extensions are each torrent's: see Add.
  lt::session_params parameters(SessionSettings(start), {});
  // Mapped files would count against memory budgets, and a full disk would be a signal.
  parameters.disk_io_constructor = start.task == Task::kDescribe ? lt::disabled_disk_io_constructor
                                                                 : lt::posix_disk_io_constructor;
  return parameters;
}

// What piece_layers() takes for a file of so many pieces that has come: libtorrent hashes all
// blocks of the rest of the file for each of its pieces (2.0.8, merkle_tree::get_piece_layer). Of a
// file that has not come the layer is copied.
double LayersSeconds(int pieces) {
  constexpr double kSecondsPerHash = 1.5e-7;
  constexpr double kHashesPerSquare = 2.0 / 3 * kPieceLeaves;
  return kSecondsPerHash * kHashesPerSquare * pieces * pieces;
}

const char* AdviceOn(const lt::error_code& error) {
  const bool full = error == boost::system::errc::no_space_on_device;
  return full ? "; make room, and the same command goes on" : "";
}

// Peers that are idle look for work when a piece is wanted that was not, or else seconds later. The
// first is of the manifest or a file beside it, all of which are here, so that nothing else
// changes.
void AskAgain(const lt::torrent_handle& torrent) {
  constexpr lt::piece_index_t kIsHere(0);
  torrent.piece_priority(kIsHere, lt::low_priority);
  torrent.piece_priority(kIsHere, lt::dont_download);
}

}  // namespace

SwarmSession::SwarmSession(const StartMessage& start, bool confined, Emit emit,
                           const std::function<void()>& on_news)
    : start_(start),
      confined_(confined),
      emit_(std::move(emit)),
      idle_(std::chrono::milliseconds(start.idle_milliseconds)),
      peers_(start.peers),
      watch_(std::make_shared<PeerWatch>(on_news)),
      info_(start.task == Task::kDescribe ? std::make_shared<InfoPlugin>(start.info_hash, on_news)
                                          : nullptr),
      session_(SessionParameters(start)) {
  session_.set_peer_class_filter(LimitsForAll());
  if (start_.private_only) session_.set_ip_filter(PrivateNetworks());
  session_.set_alert_notify(on_news);
  AddTorrent();
}

SwarmSession::~SwarmSession() = default;

void SwarmSession::Want(const WantMessage& message) {
  if (message.priorities.size() != files_.size()) Throw("a wish for files that there are not");
  // By chance, so that machines that fetch at the same time have something for each other.
  std::vector<std::uint32_t> order(files_.size());
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::minstd_rand(std::random_device()()));
  for (const std::uint32_t file : order) WantOne(file, message.priorities[file]);
  AskForWanted();
}

void SwarmSession::WantFile(const WantFileMessage& message) {
  if (message.file >= files_.size()) Throw("a wish for a file that there is not");
  WantOne(message.file, message.priority);
  AskForWanted();
}

void SwarmSession::WantOne(std::uint32_t file, std::uint8_t priority) {
  wanted_.Want(file, std::min(priority, static_cast<std::uint8_t>(lt::top_priority)));
}

void SwarmSession::AskForWanted() {
  std::vector<std::pair<lt::piece_index_t, lt::download_priority_t>> pieces;
  for (const WantedFiles::Change& change : wanted_.TakeChanges()) {
    for (int i = first_piece_[change.file]; i < first_piece_[change.file + 1]; ++i) {
      pieces.emplace_back(lt::piece_index_t(i), lt::download_priority_t(change.priority));
    }
  }
  if (!pieces.empty()) torrent_.prioritize_pieces(pieces);
}

void SwarmSession::Connect(const ConnectMessage& message) {
  for (const PeerAddress& peer : message.peers) {
    if (std::find(peers_.begin(), peers_.end(), peer) == peers_.end()) peers_.push_back(peer);
  }
  next_redial_ = {};
}

void SwarmSession::Handle() {
  std::vector<lt::alert*> alerts;
  session_.pop_alerts(&alerts);
  for (const lt::alert* alert : alerts) HandleAlert(*alert);
  if (info_ != nullptr) Describe();
  ResumeWhenAlone();
}

void SwarmSession::HandleAlert(const lt::alert& alert) {
  if (const auto* update = lt::alert_cast<lt::state_update_alert>(&alert)) {
    for (const lt::torrent_status& status : update->status) {
      if (status.handle == torrent_) EmitStatus(status);
    }
  } else if (const auto* file = lt::alert_cast<lt::file_completed_alert>(&alert)) {
    if (file->handle == torrent_) EmitFile(file->index);
  } else if (const auto* saved = lt::alert_cast<lt::save_resume_data_alert>(&alert)) {
    TakeResumeData(*saved);
  } else if (const auto* checked = lt::alert_cast<lt::torrent_checked_alert>(&alert)) {
    if (checked->handle == torrent_) TakeChecked();
  } else if (lt::alert_cast<lt::piece_finished_alert>(&alert) != nullptr) {
    ++verified_pieces_;
    new_pieces_ = true;
  } else if (lt::alert_cast<lt::hash_failed_alert>(&alert) != nullptr) {
    ++failed_pieces_;
  } else if (const auto* ban = lt::alert_cast<lt::peer_ban_alert>(&alert)) {
    TakeBan(*ban);
  } else if (const auto* listen = lt::alert_cast<lt::listen_succeeded_alert>(&alert)) {
    if (!std::exchange(ready_, true)) {
      emit_(ReadyMessage{.port = static_cast<std::uint16_t>(listen->port), .confined = confined_});
    }
  } else {
    HandleEnd(alert);
  }
}

// What makes it impossible to go on.
void SwarmSession::HandleEnd(const lt::alert& alert) {
  if (const auto* file = lt::alert_cast<lt::file_error_alert>(&alert)) {
    emit_(FailureMessage{fmt::format("cannot use '{}': {}{}", file->filename(),
                                     file->error.message(), AdviceOn(file->error))});
  } else if (const auto* unsaved = lt::alert_cast<lt::save_resume_data_failed_alert>(&alert)) {
    renewing_ = false;
    if (forgetting_.empty()) return;
    emit_(FailureMessage{fmt::format("cannot forget files: {}", unsaved->error.message())});
  } else if (const auto* failed = lt::alert_cast<lt::torrent_error_alert>(&alert)) {
    emit_(FailureMessage{failed->error.message()});
  } else if (const auto* listen = lt::alert_cast<lt::listen_failed_alert>(&alert)) {
    // One of the two protocols suffices, and IPv6 is often missing.
    if (ready_ || !listen->address.is_v4()) return;
    emit_(FailureMessage{fmt::format("cannot listen on port {}: {}; choose another with --port",
                                     start_.port, listen->error.message())});
  }
}

void SwarmSession::Describe() {
  std::optional<std::string> info = info_->TakeFound();
  if (info) emit_(DescriptionMessage{.info = std::move(*info), .peers = Connected()});
}

void SwarmSession::EmitStatus(const lt::torrent_status& status) {
  const auto number = [](auto value) { return value < 0 ? 0u : static_cast<std::uint64_t>(value); };
  StatusMessage message;
  message.peers = static_cast<std::uint32_t>(number(status.num_peers));
  message.seeds = static_cast<std::uint32_t>(number(status.num_seeds));
  message.download_rate = number(status.download_payload_rate);
  message.upload_rate = number(status.upload_payload_rate);
  message.downloaded = downloaded_ = downloaded_before_ + number(status.total_payload_download);
  message.uploaded = uploaded_ = uploaded_before_ + number(status.total_payload_upload);
  message.wanted_done = number(status.total_wanted_done);
  message.wanted = number(status.total_wanted);
  message.verified_pieces = verified_pieces_;
  message.failed_pieces = failed_pieces_;
  emit_(message);
}

void SwarmSession::EmitFile(lt::file_index_t index) {
  const auto found = std::lower_bound(files_.begin(), files_.end(), index);
  if (found == files_.end() || *found != index) return;
  const auto file = static_cast<std::uint32_t>(found - files_.begin());
  // Its pieces are taken away from the torrent.
  if (std::find(forgetting_.begin(), forgetting_.end(), file) != forgetting_.end()) return;
  emit_(FileMessage{file});
  // Of what was here before libtorrent says so too.
  if (!wanted_.Came(file)) return;
  layers_seconds_ += LayersSeconds(first_piece_[file + 1] - first_piece_[file]);
  AskForWanted();
}

// What is learnt of files whose pieces come one by one. The layers of files that have come are
// known to the program, which hashes them.
void SwarmSession::EmitLayers() {
  if (layers_seconds_ > kMostLayersSeconds || !std::exchange(new_pieces_, false)) return;
  const Clock::time_point begin = Clock::now();
  const auto layers = torrent_.piece_layers();
  const lt::sha256_hash missing;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    const auto place = static_cast<std::size_t>(static_cast<int>(files_[i]));
    if (layer_known_[i] || place >= layers.size() || layers[place].empty()) continue;
    if (layers[place].size() * sizeof(Digest) > kMostNewsBytes / 2) continue;
    LayerMessage message{.file = static_cast<std::uint32_t>(i), .layer = {}};
    const auto& layer = layers[place];
    if (std::find(layer.begin(), layer.end(), missing) != layer.end()) continue;
    for (const lt::sha256_hash& hash : layer) {
      Digest& digest = message.layer.emplace_back();
      std::copy(hash.begin(), hash.end(), digest.begin());
    }
    layer_known_[i] = true;
    emit_(message);
  }
  // All layers are copied each time: a large model shall not do only that.
  constexpr int kRestFactor = 50;
  next_layers_ = Clock::now() +
                 std::max<Clock::duration>(kLayersInterval, kRestFactor * (Clock::now() - begin));
}

void SwarmSession::WatchPeers() {
  // Adds no extension: that is how a function comes to run in libtorrent's thread.
  torrent_.add_extension([watch = watch_, on_demand = start_.task == Task::kOnDemand](
                             const lt::torrent_handle& torrent, lt::client_data_t) {
    if (watch->CutSilent(Clock::now()) && on_demand) AskAgain(torrent);
    return std::shared_ptr<lt::torrent_plugin>();
  });
}

void SwarmSession::Tick() {
  const Clock::time_point now = Clock::now();
  ResumeWhenAlone();
  if (now >= next_look_) {
    next_look_ = now + kWatchInterval;
    WatchPeers();
    if (check_ != nullptr) TakeDamaged();
  }
  if (now < next_tick_) return;
  next_tick_ = now + kTickInterval;
  session_.post_torrent_updates();
  if (start_.task != Task::kDescribe && now >= next_layers_) EmitLayers();
  if (start_.watch) EmitPeers();
  AskOwnDht(now);
  if (now >= next_redial_) {
    next_redial_ = now + kRedialInterval;
    Redial();
    const bool on_demand = start_.task == Task::kOnDemand;
    if (idle_.Look(now, downloaded_, uploaded_, !wanted_.IsIdle()) && on_demand) Renew();
  }
}

void SwarmSession::Finish() {
  if (start_.task == Task::kDescribe) return;
  Handle();
  EmitLayers();
  EmitStatus(torrent_.status());
  if (start_.watch) EmitPeers();
}

}  // namespace doppler
