// Has the system provide the pages of memory on a thread of its own, ahead of those who use them.
//
// A page that is touched first has to be found and cleared; 64 MiB of them take from 10 ms to 100
// ms, which neither a read nor those who wait to start one should pay for.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "base/bytes.h"

namespace doppler {

// Any thread may call these; none allocates.
class PageMaker {
 public:
  // `memory` outlives this. Regions of `region` bytes are made as a whole; the last may be shorter.
  PageMaker(std::span<std::byte> memory, Bytes region);
  ~PageMaker();
  PageMaker(const PageMaker&) = delete;
  PageMaker& operator=(const PageMaker&) = delete;

  // Whether the region's pages are there. If not, they are made, and after them those of the next
  // region unless that was forgotten.
  bool Ready(std::size_t region);

  // The region's pages go: none is made until someone asks for the region itself.
  void Forget(std::size_t region);

 private:
  enum class State : std::uint8_t { kUnasked, kAsked, kBeingMade, kReady, kForgotten };

  void Run();
  std::size_t NextAsked();
  void Make(std::unique_lock<std::mutex>& lock, std::size_t region);

  const std::span<std::byte> memory_;
  const Bytes region_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<State> states_;
  std::size_t asked_ = 0;   // regions in that state
  std::size_t latest_ = 0;  // made last
  bool making_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace doppler
