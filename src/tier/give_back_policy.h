// When the system is short of memory, how much of a pool goes back to it, and when it is taken
// again.
//
//   once a second: what the kernel counted -> Next() -> give back, take again, or nothing
//
// A pure state machine: it reads no clock and moves no byte.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace doppler {

// What is known of the system's memory at one moment.
struct PressureSample {
  double seconds = 0;            // since any moment
  std::uint64_t stalled_us = 0;  // StallTimes::total_microseconds of `some`
  Bytes available = 0;           // that the process could take beyond what it has
};

struct GiveBackOptions {
  Bytes size = 0;   // of the whole pool
  Bytes least = 0;  // that stays in any case
  // Given back or taken again at once.
  Bytes step = 0;
  // Must stay available to others when a step is taken again.
  Bytes margin = 0;
  // Samples nearer to each other than this tell nothing.
  double interval_seconds = 1;
  // Of an interval, from which a step is given back.
  double stalled_share = 0.1;
  // Of an interval, up to which it is quiet.
  double quiet_share = 0.01;
  // Quiet before each step that is taken again.
  double quiet_seconds = 20;
};

// Steps of a sixteenth of a pool, in whole `region`s; a margin as large, within 32 MiB and 2 GiB.
GiveBackOptions GiveBackOptionsFor(Bytes size, Bytes least, Bytes region);

struct PoolChange {
  enum class Kind : std::uint8_t { kNone, kGiveBack, kTakeAgain };
  Kind kind = Kind::kNone;
  Bytes bytes = 0;
  friend bool operator==(const PoolChange&, const PoolChange&) = default;
};

// One thread at a time.
class GiveBackPolicy {
 public:
  explicit GiveBackPolicy(const GiveBackOptions& options) : options_(options) {}

  // What to do at a sample, of a pool of which `away` bytes are given back now. A sample whose time
  // or count is before that of the one before begins anew.
  PoolChange Next(const PressureSample& sample, Bytes away);

 private:
  PoolChange GiveBack(Bytes away) const;
  PoolChange TakeAgain(const PressureSample& sample, Bytes away);

  const GiveBackOptions options_;
  std::optional<PressureSample> before_;
  double quiet_since_ = 0;  // or the last step that was taken again
};

}  // namespace doppler
