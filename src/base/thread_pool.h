// A fixed set of threads that run the iterations of a loop.
//
// The calling thread takes part, so a pool of one thread starts none. Workers spin for a short
// while between loops and then sleep: in decode the next loop follows within microseconds.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/function_ref.h"

namespace doppler {

class ThreadPool {
 public:
  // REQUIRES: threads >= 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end) for consecutive ranges of at most `grain` indices that cover
  // [0, count), each exactly once, and returns when all are done. Which thread takes which range
  // is not defined, so `body` must not let the answer depend on it. Does not allocate. `body` must
  // not throw and must not call this pool. One caller at a time.
  void ParallelFor(std::size_t count, std::size_t grain,
                   FunctionRef<void(std::size_t begin, std::size_t end)> body);

 private:
  struct Loop {
    std::size_t count = 0;
    std::size_t grain = 1;
    const FunctionRef<void(std::size_t, std::size_t)>* body = nullptr;
    bool no_alloc = false;
  };

  void RunWorker();
  void RunRanges();
  bool JoinLoop();
  void LeaveLoop();

  Loop loop_;                                 // written only while no loop is open
  std::atomic<std::size_t> next_{0};          // first index that no thread has taken
  std::atomic<std::uint32_t> generation_{0};  // counts loops; idle workers wait for it to change
  // Whether a loop is open (kOpen) and how many workers are in it. A worker that comes late, or is
  // not scheduled at all, is not waited for.
  std::atomic<std::uint32_t> state_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace doppler
