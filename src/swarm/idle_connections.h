// When connections that were used and then idle are worth making anew.
//
// libtorrent asks a peer for as many blocks at a time as came in the last seconds: after some idle
// ones for two, and then for more once a second. A new connection doubles them with each round
// trip.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/stopwatch.h"

namespace doppler {

// Used by one thread.
class IdleConnections {
 public:
  explicit IdleConnections(Clock::duration idle) : idle_(idle) {}

  // Bytes of files that came and went since the start, as far as known, and whether any are wanted.
  // Whether connections are to be made anew now: once after each use.
  bool Look(Clock::time_point now, std::uint64_t downloaded, std::uint64_t uploaded, bool wanted) {
    if (downloaded != downloaded_) used_ = true;
    if (downloaded != downloaded_ || uploaded != uploaded_ || wanted) since_ = now;
    downloaded_ = downloaded;
    uploaded_ = uploaded;
    if (!used_ || now - since_ < idle_) return false;
    used_ = false;
    return true;
  }

 private:
  const Clock::duration idle_;
  std::uint64_t downloaded_ = 0;
  std::uint64_t uploaded_ = 0;
  bool used_ = false;
  Clock::time_point since_;  // nothing came, went or was wanted
};

}  // namespace doppler
