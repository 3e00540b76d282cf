// The order in which reads go to the device, and how many are there at once.
//
//   Push(priority, read) -> waits here -> at most `depth` on the device -> Completed()
//
// Reads of one priority go in the order in which they came. Background reads wait until nothing
// more urgent does, and once a run has started they leave most of the device's places free for it.
// Speculative ones wait until the device has no demanded read either.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <numeric>
#include <vector>

#include "base/stopwatch.h"
#include "store/shard_files.h"

namespace doppler {

// Reads on the device at once. More does not read faster and makes the first of them late.
inline constexpr int kDeviceDepth = 16;
// Threads of a reader: they verify what arrives.
inline constexpr int kReaderThreads = 2;
// One reader is for experts, one for streamed layers.
static_assert(2 * kDeviceDepth < kLeastExpertFiles);

enum class ReadPriority : std::uint8_t { kDemand, kBackground, kSpeculative };
inline constexpr std::size_t kReadPriorities = 3;

// A read is named by the slot it fills and its number among that slot's reads.
struct QueuedRead {
  std::uint32_t slot = 0;
  std::uint32_t part = 0;
};

// Any thread.
class ReadQueue {
 public:
  // Starts a read on the device, whose end is told to Completed with the same priority. Called
  // under the queue's lock: must not wait for completions and must not call back.
  using Submit = std::function<void(QueuedRead read, ReadPriority priority)>;

  // `capacity` is how many reads can wait at one priority.
  ReadQueue(std::size_t capacity, int depth, Submit submit);

  // Does not allocate. REQUIRES: fewer than `capacity` wait at that priority.
  void Push(ReadPriority priority, QueuedRead read);
  // A read has left the device.
  void Completed(ReadPriority priority);
  // Makes the reads of a slot that still wait demanded ones, and says how many there were. Those
  // that are on the device already stay what they are.
  std::size_t Promote(std::uint32_t slot);
  // Takes back a slot's speculative reads if all `count` of them still wait; else none.
  bool Withdraw(std::uint32_t slot, std::size_t count);
  // Forgets what waits; nothing is started any more.
  void Stop();

  // Whether nothing waits and nothing is on the device.
  bool Idle() const;
  // Time in which something was on the device, up to now.
  double BusySeconds() const;

 private:
  // First in, first out, of a fixed capacity.
  class Ring {
   public:
    explicit Ring(std::size_t capacity) : entries_(capacity) {}
    bool empty() const { return count_ == 0; }
    std::size_t size() const { return count_; }
    std::size_t CountOf(std::uint32_t slot) const;
    void Push(QueuedRead read);
    QueuedRead Pop();
    void Clear() { count_ = 0; }

   private:
    std::vector<QueuedRead> entries_;
    std::size_t head_ = 0;
    std::size_t count_ = 0;
  };

  // Moves a slot's reads to another ring, or drops them if there is none; says how many. The others
  // keep their order.
  static std::size_t TakeOut(std::uint32_t slot, Ring& from, Ring* to);
  bool Startable(ReadPriority priority) const;
  void StartWhatMay();
  int OnDevice() const { return std::accumulate(on_device_.begin(), on_device_.end(), 0); }

  const int depth_;
  const Submit submit_;
  mutable std::mutex mutex_;
  std::array<Ring, kReadPriorities> waiting_;        // [ReadPriority]
  std::array<int, kReadPriorities> on_device_ = {};  // [ReadPriority]
  double busy_seconds_ = 0;                          // until the device was last idle
  Clock::time_point busy_since_;                     // if something is on the device
  bool demanded_ = false;                            // something was, since the start
  bool stopped_ = false;
};

}  // namespace doppler
