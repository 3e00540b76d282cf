#include "io/page_maker.h"

#include <algorithm>

#include "base/alloc_guard.h"
#include "io/mapped_memory.h"

namespace doppler {
namespace {

// Made between two looks at whether someone wants the memory back.
constexpr Bytes kPiece = 8 * kMiB;

}  // namespace

PageMaker::PageMaker(std::span<std::byte> memory, Bytes region)
    : memory_(memory),
      region_(region),
      states_((memory.size() + region - 1) / region, State::kUnasked),
      thread_([this] { Run(); }) {}

PageMaker::~PageMaker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool PageMaker::Ready(std::size_t region) {
  const std::lock_guard lock(mutex_);
  if (states_[region] == State::kReady) return true;
  const auto ask = [this](State& state) {
    state = State::kAsked;
    ++asked_;
  };
  if (states_[region] == State::kUnasked || states_[region] == State::kForgotten) {
    ask(states_[region]);
  }
  if (region + 1 < states_.size() && states_[region + 1] == State::kUnasked) {
    ask(states_[region + 1]);
  }
  changed_.notify_all();
  return false;
}

void PageMaker::Forget(std::size_t region) {
  std::unique_lock lock(mutex_);
  State& state = states_[region];
  const bool being_made = state == State::kBeingMade;
  if (state == State::kAsked) --asked_;
  state = State::kForgotten;
  // Its maker sees that after a piece, and says so.
  if (being_made) changed_.wait(lock, [this] { return !making_; });
}

void PageMaker::Run() {
  const NoAllocScope no_alloc;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || asked_ > 0; });
    if (stopping_) return;
    Make(lock, NextAsked());
  }
}

// From the one made last on, as slots are filled in that order.
std::size_t PageMaker::NextAsked() {
  std::size_t region = latest_;
  while (states_[region] != State::kAsked) region = (region + 1) % states_.size();
  return region;
}

void PageMaker::Make(std::unique_lock<std::mutex>& lock, std::size_t region) {
  states_[region] = State::kBeingMade;
  --asked_;
  latest_ = region;
  making_ = true;
  const Bytes end = std::min(memory_.size(), (region + 1) * region_);
  for (Bytes at = region * region_; at < end; at += kPiece) {
    if (stopping_ || states_[region] != State::kBeingMade) break;
    lock.unlock();
    MakePages(memory_.subspan(at, std::min(kPiece, end - at)));
    lock.lock();
  }
  making_ = false;
  if (states_[region] == State::kBeingMade) states_[region] = State::kReady;
  changed_.notify_all();
}

}  // namespace doppler
