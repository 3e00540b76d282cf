#include "tier/give_back_policy.h"

#include <algorithm>

namespace doppler {
namespace {

constexpr Bytes kSteps = 16;
constexpr Bytes kLeastMargin = 32 * kMiB;
// Half of what the automatic budget leaves of a large machine, so that a pool comes back whole.
constexpr Bytes kMostMargin = 2 * kGiB;

}  // namespace

GiveBackOptions GiveBackOptionsFor(Bytes size, Bytes least, Bytes region) {
  const Bytes part = (size + kSteps - 1) / kSteps;
  return {.size = size,
          .least = least,
          .step = (part + region - 1) / region * region,
          .margin = std::clamp(part, kLeastMargin, kMostMargin)};
}

PoolChange GiveBackPolicy::Next(const PressureSample& sample, Bytes away) {
  const bool begins =
      !before_ || sample.seconds < before_->seconds || sample.stalled_us < before_->stalled_us;
  if (begins) {
    before_ = sample;
    quiet_since_ = sample.seconds;
    return {};
  }
  const double interval = sample.seconds - before_->seconds;
  if (interval < options_.interval_seconds) return {};
  const double share =
      static_cast<double>(sample.stalled_us - before_->stalled_us) / 1e6 / interval;
  before_ = sample;
  if (share > options_.quiet_share) quiet_since_ = sample.seconds;
  if (share >= options_.stalled_share) return GiveBack(away);
  return TakeAgain(sample, away);
}

PoolChange GiveBackPolicy::GiveBack(Bytes away) const {
  const Bytes stays = options_.least + away;
  if (options_.size <= stays) return {};
  return {PoolChange::Kind::kGiveBack, std::min(options_.step, options_.size - stays)};
}

PoolChange GiveBackPolicy::TakeAgain(const PressureSample& sample, Bytes away) {
  const bool quiet = sample.seconds - quiet_since_ >= options_.quiet_seconds;
  if (away == 0 || !quiet) return {};
  const Bytes bytes = std::min(options_.step, away);
  const bool room = sample.available > bytes && sample.available - bytes > options_.margin;
  if (!room) return {};
  quiet_since_ = sample.seconds;
  return {PoolChange::Kind::kTakeAgain, bytes};
}

}  // namespace doppler
