#include "swarm/worker/session.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/alert_types.hpp>
#include <libtorrent/disabled_disk_io.hpp>
#include <libtorrent/extensions/ut_metadata.hpp>
#include <libtorrent/extensions/ut_pex.hpp>
#include <libtorrent/peer_info.hpp>
#include <libtorrent/posix_disk_io.hpp>
#include <libtorrent/session_params.hpp>
#include <libtorrent/torrent_flags.hpp>
#include <libtorrent/torrent_info.hpp>
#include <libtorrent/torrent_status.hpp>

#include "base/error.h"
#include "format/artifact_files.h"
#include "swarm/torrent.h"
#include "swarm/torrent_rules.h"
#include "swarm/worker/settings.h"
#include "swarm/worker/tls_connection.h"

namespace doppler {
namespace {

namespace lt = libtorrent;
using Task = StartMessage::Task;

// Its answer is news too, and must not be asked for as soon as it has come.
constexpr std::chrono::milliseconds kTickInterval(200);
constexpr std::chrono::milliseconds kWatchInterval(100);
constexpr std::chrono::seconds kRedialInterval(1);
constexpr std::chrono::seconds kLayersInterval(1);
// How long connections that end are waited for before others are made.
constexpr std::chrono::milliseconds kMostForEnds(300);
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

lt::sha256_hash ToHash(const Digest& digest) {
  return lt::sha256_hash(reinterpret_cast<const char*>(digest.data()));
}

PeerAddress ToPeer(const lt::tcp::endpoint& endpoint) {
  return {.host = endpoint.address().to_string(), .port = endpoint.port()};
}

lt::tcp::endpoint ToEndpoint(const PeerAddress& peer) {
  return {lt::make_address(peer.host), peer.port};
}

bool AreThere(const std::vector<std::uint8_t>& have, std::size_t begin, std::size_t end) {
  for (std::size_t i = begin; i < end; ++i) {
    if ((have[i / 8] >> (7 - i % 8) & 1u) == 0) return false;
  }
  return true;
}

// What piece_layers() takes for a file of so many pieces that has come: libtorrent hashes all
// blocks of the rest of the file for each of its pieces (2.0.8, merkle_tree::get_piece_layer). Of a
// file that has not come the layer is copied.
double LayersSeconds(int pieces) {
  constexpr double kSecondsPerHash = 1.5e-7;
  constexpr double kHashesPerSquare = 2.0 / 3 * kPieceLeaves;
  return kSecondsPerHash * kHashesPerSquare * pieces * pieces;
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

lt::add_torrent_params SwarmSession::Parameters() const {
  lt::add_torrent_params parameters;
  parameters.info_hashes = lt::info_hash_t(ToHash(start_.info_hash));
  parameters.save_path = start_.folder;
  parameters.trackers = start_.trackers;
  parameters.url_seeds = start_.web_seeds;
  for (const PeerAddress& peer : peers_) parameters.peers.push_back(ToEndpoint(peer));
  parameters.flags = lt::torrent_flags::apply_ip_filter;
  if (!start_.dht) parameters.flags |= lt::torrent_flags::disable_dht;
  if (!start_.local_discovery) parameters.flags |= lt::torrent_flags::disable_lsd;
  if (!start_.peer_exchange) parameters.flags |= lt::torrent_flags::disable_pex;
  return parameters;
}

void SwarmSession::AddTorrent() {
  lt::add_torrent_params parameters = Parameters();
  if (start_.task == Task::kDescribe) {
    parameters.flags |= lt::torrent_flags::default_dont_download;
  } else {
    LoadTorrent(parameters);
  }
  Add(std::move(parameters));
}

void SwarmSession::Add(lt::add_torrent_params parameters) {
  const auto extend = [&parameters](std::shared_ptr<lt::torrent_plugin> plugin) {
    parameters.extensions.emplace_back(
        [plugin](const lt::torrent_handle&, lt::client_data_t) { return plugin; });
  };
  extend(watch_);
  if (info_ != nullptr) extend(info_);
  if (info_ == nullptr) parameters.extensions.emplace_back(lt::create_ut_metadata_plugin);
  parameters.extensions.emplace_back(lt::create_ut_pex_plugin);
  // Paused until ResumeWhenAlone. What a torrent knows of itself does not say who wants its news.
  parameters.flags |= lt::torrent_flags::paused | lt::torrent_flags::update_subscribe;
  lt::error_code error;
  torrent_ = session_.add_torrent(std::move(parameters), error);
  if (error) Throw("libtorrent does not take the torrent: {}", error.message());
  if (!start_.authority.empty()) {
    torrent_.set_ssl_certificate_buffer(start_.certificate, start_.private_key, DhParameters());
  }
  // Without files there is nothing to check.
  if (start_.task == Task::kDescribe) torrent_.resume();
}

void SwarmSession::LoadTorrent(lt::add_torrent_params& parameters) {
  lt::load_torrent_limits limits;
  limits.max_buffer_size = static_cast<int>(std::min<std::size_t>(
      start_.torrent.size(), static_cast<std::size_t>(std::numeric_limits<int>::max())));
  limits.max_pieces = static_cast<int>(kMostPieces);
  const auto info = std::make_shared<lt::torrent_info>(
      lt::span<const char>(start_.torrent.data(),
                           static_cast<std::ptrdiff_t>(start_.torrent.size())),
      limits, lt::from_span);
  const Torrent torrent = ParseTorrent(start_.torrent, "the torrent");
  const auto pieces = static_cast<std::size_t>(info->num_pieces());
  if (info->info_hashes().v2 != ToHash(start_.info_hash) || pieces != PieceCount(torrent) ||
      start_.have.size() != (pieces + 7) / 8 || torrent.authority != start_.authority) {
    Throw("the torrent is not the one that was named");
  }
  for (const lt::file_index_t index : info->files().file_range()) {
    if (!info->files().pad_file_at(index)) files_.push_back(index);
  }
  DOPPLER_CHECK(files_.size() == torrent.files.size());
  for (std::size_t i = 0; i < files_.size(); ++i) {
    const std::string& path = torrent.files[i].path;
    // Without the model's name in front: the folder may have another.
    parameters.renamed_files[files_[i]] = path == kManifestFile ? start_.manifest_file : path;
    layer_known_.push_back(HasPieceHashes(torrent.files[i]));
  }
  CountPieces(torrent);
  parameters.have_pieces.assign(reinterpret_cast<const char*>(start_.have.data()),
                                static_cast<int>(pieces));
  if (start_.task == Task::kSeed) {
    parameters.flags |= lt::torrent_flags::upload_mode;
    // A piece is then hashed before it is sent for the first time: a damaged file harms nobody.
    if (AreThere(start_.have, 0, pieces)) parameters.flags |= lt::torrent_flags::seed_mode;
  } else {
    // By pieces and not by files: what is written of a file that nobody wants would not go there.
    parameters.piece_priorities.assign(pieces, lt::dont_download);
  }
  parameters.ti = info;
}

// What of each file is here, and how much it is.
void SwarmSession::CountPieces(const Torrent& torrent) {
  std::vector<int> counts;
  first_piece_ = {0};
  for (const TorrentFile& file : torrent.files) {
    counts.push_back(static_cast<int>(PieceCount(file)));
    first_piece_.push_back(first_piece_.back() + counts.back());
  }
  wanted_ = WantedFiles(counts);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto begin = static_cast<std::size_t>(first_piece_[i]);
    const auto end = static_cast<std::size_t>(first_piece_[i + 1]);
    if (AreThere(start_.have, begin, end)) wanted_.Came(static_cast<std::uint32_t>(i));
  }
}

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
    if (checked->handle == torrent_) resume_by_ = Clock::now() + kMostForEnds;
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

void SwarmSession::TakeBan(const lt::peer_ban_alert& ban) {
  const PeerAddress peer = ToPeer(ban.endpoint);
  if (watch_->Pardons(ban.endpoint)) {
    pardoned_.push_back(peer);
    emit_(PardonedMessage{peer});
    Renew();
  } else if (banned_.insert(peer).second) {
    emit_(BannedMessage{peer});
  }
}

// What makes it impossible to go on.
void SwarmSession::HandleEnd(const lt::alert& alert) {
  if (const auto* file = lt::alert_cast<lt::file_error_alert>(&alert)) {
    emit_(FailureMessage{
        fmt::format("cannot use '{}': {}", file->filename(), file->error.message())});
  } else if (const auto* unsaved = lt::alert_cast<lt::save_resume_data_failed_alert>(&alert)) {
    renewing_ = false;
    if (forgetting_.empty()) return;
    emit_(FailureMessage{fmt::format("cannot forget files: {}", unsaved->error.message())});
  } else if (const auto* failed = lt::alert_cast<lt::torrent_error_alert>(&alert)) {
    emit_(FailureMessage{failed->error.message()});
  } else if (const auto* listen = lt::alert_cast<lt::listen_failed_alert>(&alert)) {
    // One of the two protocols suffices, and IPv6 is often missing.
    if (ready_ || !listen->address.is_v4()) return;
    emit_(FailureMessage{
        fmt::format("cannot listen on port {}: {}", start_.port, listen->error.message())});
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

std::vector<PeerAddress> SwarmSession::Connected() const {
  std::vector<lt::peer_info> infos;
  torrent_.get_peer_info(infos);
  std::vector<PeerAddress> peers;
  for (const lt::peer_info& info : infos) {
    // The port of one that connected to us is not the one that it listens on.
    if (info.flags & lt::peer_info::local_connection) peers.push_back(ToPeer(info.ip));
  }
  return peers;
}

void SwarmSession::Redial() {
  const std::vector<PeerAddress> connected = Connected();
  for (const PeerAddress& peer : peers_) {
    const bool there = std::find(connected.begin(), connected.end(), peer) != connected.end();
    if (!there && banned_.count(peer) == 0) torrent_.connect_peer(ToEndpoint(peer));
  }
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
