// Serves a model to the swarm.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "swarm/link.h"
#include "swarm/reach.h"
#include "swarm/torrent.h"

namespace doppler {

struct ShareOptions {
  std::filesystem::path folder;
  SwarmReach reach;                    // its peers are connected to
  std::vector<PeerAddress> addresses;  // of this machine, for the link
  int threads = 1;                     // for hashing
  // PEM file of a private key to sign the model with; empty: the signature that its folder keeps,
  // if any.
  std::filesystem::path signing_key;
};

struct ShareReport {
  std::uint64_t uploaded = 0;
  int restarts = 0;  // of the swarm process
};

struct ShareEvents {
  std::function<void(std::string_view stage, Bytes done, Bytes total)> preparing;
  // It listens: from now on others can fetch. Called once.
  std::function<void(std::uint16_t port)> ready;
  std::function<void(const StatusMessage&)> status;
  std::function<void(const std::string&)> notice;
};

// A model made ready to be shared.
struct SharedModel {
  Torrent torrent;
  Link link;
  std::vector<std::uint8_t> have;  // as StartMessage has it
  Bytes bytes = 0;                 // of pieces that are there
};

// Describes the model and hashes what has no hashes yet; of a model that is not complete, all that
// is there. Throws Error for a damaged shard, InterruptedError.
SharedModel PrepareShare(const ShareOptions& options, const ShareEvents& events);

// Serves until Ctrl-C. Throws Error.
ShareReport ServeModel(const SharedModel& model, const ShareOptions& options,
                       const ShareEvents& events);

}  // namespace doppler
