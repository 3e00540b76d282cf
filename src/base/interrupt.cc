#include "base/interrupt.h"

#include <atomic>
#include <csignal>

#include "base/alloc_guard.h"

namespace doppler {
namespace {

std::atomic<int> interrupted_by{0};  // the signal
static_assert(std::atomic<int>::is_always_lock_free);

void OnSignal(int signal) {
  interrupted_by.store(signal, std::memory_order_relaxed);
  std::signal(signal, SIG_DFL);
}

}  // namespace

void InstallInterruptHandler() {
  std::signal(SIGINT, OnSignal);
  std::signal(SIGTERM, OnSignal);
}

bool Interrupted() { return interrupted_by.load(std::memory_order_relaxed) != 0; }
void SetInterruptedForTest(bool value) {
  interrupted_by.store(value ? SIGINT : 0, std::memory_order_relaxed);
}

bool ForgetInterrupt() {
  int expected = SIGINT;
  if (!interrupted_by.compare_exchange_strong(expected, 0)) return false;
  std::signal(SIGINT, OnSignal);
  return true;
}

void ThrowIfInterrupted() {
  if (!Interrupted()) return;
  const AllowAllocScope message;
  throw InterruptedError();
}

}  // namespace doppler
