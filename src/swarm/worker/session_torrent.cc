// The torrent as it is given to libtorrent.
#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/extensions/ut_metadata.hpp>
#include <libtorrent/extensions/ut_pex.hpp>
#include <libtorrent/torrent_flags.hpp>
#include <libtorrent/torrent_info.hpp>

#include "base/error.h"
#include "format/artifact_files.h"
#include "swarm/torrent.h"
#include "swarm/torrent_rules.h"
#include "swarm/worker/checked_sending.h"
#include "swarm/worker/session.h"
#include "swarm/worker/tls_connection.h"

namespace doppler {
namespace {

namespace lt = libtorrent;
using Task = StartMessage::Task;

lt::sha256_hash ToHash(const Digest& digest) {
  return lt::sha256_hash(reinterpret_cast<const char*>(digest.data()));
}

bool AreThere(const std::vector<std::uint8_t>& have, std::size_t begin, std::size_t end) {
  for (std::size_t i = begin; i < end; ++i) {
    if ((have[i / 8] >> (7 - i % 8) & 1u) == 0) return false;
  }
  return true;
}

}  // namespace

lt::add_torrent_params SwarmSession::Parameters() const {
  lt::add_torrent_params parameters;
  parameters.info_hashes = lt::info_hash_t(ToHash(start_.info_hash));
  parameters.save_path = start_.folder;
  parameters.trackers = start_.trackers;
  parameters.url_seeds = start_.web_seeds;
  for (const PeerAddress& peer : peers_) {
    parameters.peers.emplace_back(lt::make_address(peer.host), peer.port);
  }
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
  const auto extend = [&parameters](const std::shared_ptr<lt::torrent_plugin>& plugin) {
    parameters.extensions.emplace_back(
        [plugin](const lt::torrent_handle&, lt::client_data_t) { return plugin; });
  };
  extend(watch_);
  if (check_ != nullptr) extend(std::make_shared<CheckedSending>(check_));
  if (info_ != nullptr) extend(info_);
  if (info_ == nullptr) parameters.extensions.emplace_back(lt::create_ut_metadata_plugin);
  parameters.extensions.emplace_back(lt::create_ut_pex_plugin);
  // Paused until ResumeWhenAlone. What a torrent knows of itself does not say who wants its news.
  parameters.flags |= lt::torrent_flags::paused | lt::torrent_flags::update_subscribe;
  lt::error_code error;
  checked_ = false;
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
  Torrent torrent = ParseTorrent(start_.torrent, "the torrent");
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
    check_ = std::make_shared<PieceCheck>(start_.folder, start_.manifest_file, std::move(torrent));
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

}  // namespace doppler
