// Fetches a model from the swarm: its manifest, then what every token needs, then experts.
//
//   link or .torrent -> info dictionary -> manifest -> tokenizer, dense shards -> experts
//
// Every step is checked by our own hashing against the one before it, the first against the link.
// The folder has no manifest.json until all but experts is there. What a pull that was ended has
// left on disk is checked anew and used.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "swarm/messages.h"
#include "swarm/reach.h"
#include "swarm/torrent.h"

namespace doppler {

struct PullOptions {
  Digest info_hash{};
  std::optional<Torrent> torrent;  // if it came as a file
  std::filesystem::path folder;
  double experts = 1;  // the part of all experts to have in the end
  bool serve = true;
  SwarmReach reach;
  double timeout_seconds = 0;  // without a verified piece, after which it fails; 0: never
  int threads = 1;             // for hashing
};

struct PullProgress {
  std::string_view stage;  // "checking", "looking for peers", "fetching"
  Bytes done = 0;
  Bytes total = 0;  // 0: not known
  StatusMessage status;
};

struct PullReport {
  std::string name;
  Bytes model_bytes = 0;         // of all files that are there
  Bytes found_bytes = 0;         // of these, were there at the start
  std::uint64_t downloaded = 0;  // bytes of files that came, with those that were refused
  std::uint64_t uploaded = 0;
  std::size_t experts = 0;
  std::size_t experts_there = 0;
  std::uint64_t failed_pieces = 0;
  std::vector<PeerAddress> banned;
  std::vector<PeerAddress> pardoned;  // banned by libtorrent, and called again
  int restarts = 0;                   // of the swarm process
};

struct PullEvents {
  std::function<void(const PullProgress&)> progress;
  std::function<void(const std::string&)> notice;  // something that its user should know
};

// Returns when all that was asked for is there and verified. Throws Error, InterruptedError.
PullReport PullModel(const PullOptions& options, const PullEvents& events);

}  // namespace doppler
