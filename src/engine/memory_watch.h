// Watches whether the system is short of memory, on a thread of its own: then slots of the expert
// cache go back to the system, and are taken again when there is room.
//
//   PressureSource, once a second -> GiveBackPolicy -> ExpertCache::GiveBack, TakeAgain
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "tier/expert_cache.h"
#include "tier/give_back_policy.h"

namespace doppler {

// Where samples come from.
struct PressureSource {
  std::string name;  // of the file
  // Called by one thread at a time. Throws Error when there are none any more.
  std::function<PressureSample()> sample;
  std::chrono::milliseconds period{1000};  // from one to the next
};

// What the kernel counts for this process; nothing if it does not. `root` is where /proc and /sys
// are looked for.
std::optional<PressureSource> SystemPressure(const std::filesystem::path& root = "/");

class MemoryWatch {
 public:
  // The cache outlives this.
  MemoryWatch(ExpertCache& cache, PressureSource source);
  // Stops at once.
  ~MemoryWatch();
  MemoryWatch(const MemoryWatch&) = delete;
  MemoryWatch& operator=(const MemoryWatch&) = delete;

  const std::string& source() const { return source_.name; }
  // Why it has stopped; empty while it works. Any thread.
  std::string problem() const;

 private:
  void Run();
  void Look();

  ExpertCache& cache_;
  const PressureSource source_;
  GiveBackPolicy policy_;  // of the thread
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::string problem_;
  std::thread thread_;
};

}  // namespace doppler
