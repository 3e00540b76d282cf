#include "base/thread_pool.h"

#include <algorithm>

#include "base/alloc_guard.h"
#include "base/error.h"

namespace doppler {
namespace {

// About 20 microseconds: longer than the gap between two kernels of one layer, much shorter than a
// disk read.
constexpr int kSpins = 4000;

constexpr std::uint32_t kOpen = 1u << 31;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `value` differs from `old`, spinning first.
template <typename T>
void WaitForChange(const std::atomic<T>& value, T old) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (value.load(std::memory_order_acquire) != old) return;
    Pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  DOPPLER_CHECK(threads >= 1);
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { RunWorker(); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::ParallelFor(std::size_t count, std::size_t grain,
                             FunctionRef<void(std::size_t, std::size_t)> body) {
  if (count == 0) return;
  DOPPLER_CHECK(grain > 0);
  if (workers_.empty() || count <= grain) {
    for (std::size_t begin = 0; begin < count; begin += grain) {
      body(begin, std::min(count, begin + grain));
    }
    return;
  }
  loop_ = {.count = count, .grain = grain, .body = &body, .no_alloc = AllocationForbidden()};
  next_.store(0, std::memory_order_relaxed);
  state_.store(kOpen, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  RunRanges();
  // Nobody joins from here on; those inside finish the ranges they took.
  std::uint32_t inside = state_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
  while (inside != 0) {
    WaitForChange(state_, inside);
    inside = state_.load(std::memory_order_acquire);
  }
}

bool ThreadPool::JoinLoop() {
  std::uint32_t state = state_.load(std::memory_order_relaxed);
  while ((state & kOpen) != 0) {
    if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) return true;
  }
  return false;
}

void ThreadPool::LeaveLoop() {
  if (state_.fetch_sub(1, std::memory_order_acq_rel) == 1) state_.notify_one();
}

void ThreadPool::RunRanges() {
  NoAllocScope scope(loop_.no_alloc);
  for (;;) {
    const std::size_t begin = next_.fetch_add(loop_.grain, std::memory_order_relaxed);
    if (begin >= loop_.count) return;
    (*loop_.body)(begin, std::min(loop_.count, begin + loop_.grain));
  }
}

void ThreadPool::RunWorker() {
  std::uint32_t seen = 0;
  for (;;) {
    WaitForChange(generation_, seen);
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_relaxed)) return;
    if (!JoinLoop()) continue;
    RunRanges();
    LeaveLoop();
  }
}

}  // namespace doppler
