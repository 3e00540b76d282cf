// The BitTorrent session of one torrent: libtorrent behind the words of swarm/messages.h.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include <libtorrent/fwd.hpp>
#include <libtorrent/session.hpp>
#include <libtorrent/torrent_handle.hpp>

#include "swarm/idle_connections.h"
#include "swarm/messages.h"
#include "swarm/piece_check.h"
#include "swarm/torrent.h"
#include "swarm/wanted_files.h"
#include "swarm/worker/info_plugin.h"
#include "swarm/worker/peer_watch.h"

namespace doppler {

// Used by one thread; libtorrent has its own.
class SwarmSession {
 public:
  using Emit = std::function<void(const Message&)>;

  // Begins. `emit` gets what there is to say, from within Handle and Tick; `on_news` is called from
  // libtorrent's thread when Handle has something to do. Throws Error for a torrent that libtorrent
  // does not take.
  SwarmSession(const StartMessage& start, bool confined, Emit emit,
               const std::function<void()>& on_news);
  ~SwarmSession();
  SwarmSession(const SwarmSession&) = delete;
  SwarmSession& operator=(const SwarmSession&) = delete;

  void Want(const WantMessage& message);
  void WantFile(const WantFileMessage& message);
  void Connect(const ConnectMessage& message);
  // The torrent is added anew without what is to be forgotten, and its connections are made anew:
  // no peer can be told in another way. Emits ForgottenMessage when it is done.
  void Forget(const ForgetMessage& message);

  void Handle();
  // To be called a few times a second, or more often.
  void Tick();
  // Says what is not said yet: the end follows.
  void Finish();

 private:
  void AddTorrent();
  libtorrent::add_torrent_params Parameters() const;
  void CountPieces(const Torrent& torrent);
  void WantOne(std::uint32_t file, std::uint8_t priority);
  void AskForWanted();
  void LoadTorrent(libtorrent::add_torrent_params& parameters);
  void HandleAlert(const libtorrent::alert& alert);
  void HandleEnd(const libtorrent::alert& alert);
  void Add(libtorrent::add_torrent_params parameters);
  void Renew();
  void TakeResumeData(const libtorrent::save_resume_data_alert& alert);
  void AddWithout(libtorrent::add_torrent_params parameters);
  void TakeChecked();
  void ResumeWhenAlone();
  void TakeBan(const libtorrent::peer_ban_alert& ban);
  void Describe();
  void TakeDamaged();
  void EmitStatus(const libtorrent::torrent_status& status);
  void EmitFile(libtorrent::file_index_t index);
  void EmitLayers();
  void EmitPeers() const;
  void Redial();
  void WatchPeers();
  void AskOwnDht(Clock::time_point now);
  std::vector<PeerAddress> Connected() const;

  const StartMessage start_;
  const bool confined_;
  const Emit emit_;
  std::vector<libtorrent::file_index_t> files_;  // [file of the torrent], without pad files
  std::vector<int> first_piece_;                 // [file of the torrent], and the end
  std::vector<bool> layer_known_;                // [file of the torrent], to the program
  WantedFiles wanted_{{}};
  bool checked_ = false;   // the torrent knows what of its files is here
  bool renewing_ = false;  // what the torrent knows was asked for, or will be
  std::optional<Clock::time_point> resume_by_;
  std::vector<std::uint32_t> forgetting_;  // files, until they are
  std::vector<PeerAddress> pardoned_;      // until they are called again
  IdleConnections idle_;
  std::uint64_t downloaded_ = 0;  // as said last
  std::uint64_t uploaded_ = 0;
  std::uint64_t downloaded_before_ = 0;  // by the torrent before it was added anew
  std::uint64_t uploaded_before_ = 0;
  std::vector<PeerAddress> peers_;  // to stay connected to
  std::set<PeerAddress> banned_;
  std::uint64_t verified_pieces_ = 0;
  std::uint64_t failed_pieces_ = 0;
  bool ready_ = false;
  bool new_pieces_ = false;
  Clock::time_point next_look_{};
  Clock::time_point next_tick_{};
  Clock::time_point next_redial_{};
  Clock::time_point next_dht_{};
  Clock::duration dht_rest_{};
  Clock::time_point next_layers_{};
  double layers_seconds_ = 0;  // that asking libtorrent for the layers takes
  const std::shared_ptr<PeerWatch> watch_;
  const std::shared_ptr<InfoPlugin> info_;  // of kDescribe
  std::shared_ptr<PieceCheck> check_;       // of kSeed
  libtorrent::session session_;
  libtorrent::torrent_handle torrent_;
};

}  // namespace doppler
