// The info dictionary of a link, from peers (BEP 9), in place of libtorrent's own way.
//
// libtorrent 2.0.8 takes the size that the first peer tells for all of them, so that one liar keeps
// it from everyone's. Here each peer's bytes are its own: whose have the link's hash, ends it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <libtorrent/extensions.hpp>
#include <libtorrent/peer_connection_handle.hpp>

#include "base/stopwatch.h"
#include "format/sha256.h"

namespace doppler {

class InfoPeer;

// Everything but TakeFound in libtorrent's thread.
//
// A few peers are asked at a time, those first that were not asked before. A turn ends when the
// peer has been silent for some seconds, or when it takes long and another waits.
class InfoPlugin final : public libtorrent::torrent_plugin {
 public:
  // `on_found` is called when TakeFound has something.
  InfoPlugin(const Digest& info_hash, std::function<void()> on_found);

  std::shared_ptr<libtorrent::peer_plugin> new_connection(
      const libtorrent::peer_connection_handle& peer) override;
  void tick() override;

  // Any thread. The info dictionary, once.
  std::optional<std::string> TakeFound();

 private:
  friend class InfoPeer;

  // Asks whoever has a turn.
  void GiveTurns();
  void EndTurns(Clock::time_point now);
  // Whether these bytes are the link's, and so the end.
  bool Offer(const std::string& info);

  const Digest info_hash_;
  const std::function<void()> on_found_;
  std::vector<std::shared_ptr<InfoPeer>> peers_;
  std::map<libtorrent::tcp::endpoint, int> turns_;  // that each has had
  Clock::duration longest_turn_;
  bool is_found_ = false;
  std::mutex mutex_;  // guards what follows
  std::optional<std::string> found_;
};

}  // namespace doppler
