// Whether a peer that owes blocks still sends: how long it has been silent, and how long is long
// for this peer.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/stopwatch.h"

namespace doppler {

// Used by one thread.
class PeerPulse {
 public:
  // A block was asked for.
  void Asked(Clock::time_point now) {
    if (owed_++ > 0) return;
    waiting_since_ = now;
    last_sign_ = now;
  }
  // A block came.
  void Came(Clock::time_point now) {
    if (waiting_since_) Measure(now - *waiting_since_);
    waiting_since_.reset();
    last_sign_ = now;
    NoLonger();
  }
  // A block will not come any more: it was refused, or is not wanted.
  void NoLonger() { owed_ = std::max(0, owed_ - 1); }
  void OwesNothing() {
    owed_ = 0;
    waiting_since_.reset();
  }
  // Part of a block came.
  void Heard(Clock::time_point now) { last_sign_ = now; }

  bool Owes() const { return owed_ > 0; }
  // Zero for a peer that owes nothing.
  Clock::duration Silence(Clock::time_point now) const {
    return owed_ > 0 ? now - last_sign_ : Clock::duration::zero();
  }
  // The silence after which others are asked instead, if there are others.
  Clock::duration Patience() const {
    constexpr int kAnswers = 4;
    return std::clamp<Clock::duration>(kAnswers * answer_, kLeastPatience, kMostPatience);
  }

  static constexpr std::chrono::milliseconds kLeastPatience{500};
  static constexpr std::chrono::milliseconds kMostPatience{5000};

 private:
  // Longer at once, shorter bit by bit.
  void Measure(Clock::duration answer) {
    constexpr int kWeight = 4;
    answer_ = std::max(answer, answer_ + (answer - answer_) / kWeight);
  }

  int owed_ = 0;                                    // blocks
  std::optional<Clock::time_point> waiting_since_;  // for the first block since it owed none
  Clock::time_point last_sign_;
  Clock::duration answer_ = std::chrono::milliseconds(250);  // from asking to the first block
};

}  // namespace doppler
