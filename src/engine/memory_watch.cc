#include "engine/memory_watch.h"

#include <exception>
#include <utility>

#include "base/stopwatch.h"
#include "io/machine.h"
#include "io/memory_pressure.h"

namespace doppler {

std::optional<PressureSource> SystemPressure(const std::filesystem::path& root) {
  const std::optional<std::filesystem::path> file = FindMemoryPressureFile(root);
  if (!file) return std::nullopt;
  return PressureSource{
      .name = file->string(), .sample = [file = *file, root, start = Clock::now()] {
        const std::uint64_t stalled_us = ReadMemoryPressure(file).some.total_microseconds;
        return PressureSample{.seconds = SecondsBetween(start, Clock::now()),
                              .stalled_us = stalled_us,
                              .available = DetectMemory(root).usable};
      }};
}

MemoryWatch::MemoryWatch(ExpertCache& cache, PressureSource source)
    : cache_(cache),
      source_(std::move(source)),
      policy_(GiveBackOptionsFor(cache.size(), cache.least(), cache.region())),
      thread_([this] { Run(); }) {}

MemoryWatch::~MemoryWatch() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

std::string MemoryWatch::problem() const {
  const std::lock_guard lock(mutex_);
  return problem_;
}

void MemoryWatch::Run() {
  try {
    std::unique_lock lock(mutex_);
    while (!stop_) {
      lock.unlock();
      Look();
      lock.lock();
      wake_.wait_for(lock, source_.period, [this] { return stop_; });
    }
  } catch (const std::exception& error) {
    // A run does not end for this.
    const std::lock_guard lock(mutex_);
    problem_ = error.what();
  }
}

void MemoryWatch::Look() {
  const PoolChange change = policy_.Next(source_.sample(), cache_.size() - cache_.present());
  if (change.kind == PoolChange::Kind::kGiveBack) cache_.GiveBack(change.bytes);
  if (change.kind == PoolChange::Kind::kTakeAgain) cache_.TakeAgain(change.bytes);
}

}  // namespace doppler
