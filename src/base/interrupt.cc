#include "base/interrupt.h"

#include <atomic>
#include <csignal>

namespace doppler {
namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void OnSignal(int signal) {
  interrupted.store(true, std::memory_order_relaxed);
  std::signal(signal, SIG_DFL);
}

}  // namespace

void InstallInterruptHandler() {
  std::signal(SIGINT, OnSignal);
  std::signal(SIGTERM, OnSignal);
}

bool Interrupted() { return interrupted.load(std::memory_order_relaxed); }
void SetInterruptedForTest(bool value) { interrupted.store(value, std::memory_order_relaxed); }

void ThrowIfInterrupted() {
  if (Interrupted()) throw InterruptedError();
}

}  // namespace doppler
