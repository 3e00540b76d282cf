#include "io/probe.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/function_ref.h"
#include "io/file.h"

namespace doppler {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }  // NOLINT: from aligned_alloc
};
using AlignedBuffer = std::unique_ptr<std::byte[], FreeDeleter>;

AlignedBuffer AllocateAligned(Bytes size) {
  void* memory = std::aligned_alloc(kDirectAlignment, AlignUp(size, kDirectAlignment));
  if (memory == nullptr) Throw("no memory for a buffer of {} to measure with", FormatSize(size));
  return AlignedBuffer(static_cast<std::byte*>(memory));
}

// Runs body(thread) on `threads` threads, the caller among them, and throws what one of them threw.
void RunThreads(int threads, FunctionRef<void(int)> body) {
  std::mutex mutex;
  std::exception_ptr failure;
  const auto guarded = [&](int thread) {
    try {
      body(thread);
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; ++thread) others.emplace_back(guarded, thread);
  guarded(0);
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
}

struct Part {
  const File* file = nullptr;
  Bytes offset = 0;
  Bytes size = 0;
};

// What is left at the end of a file after the last full kDirectAlignment is not read.
std::vector<Part> SplitFiles(std::span<const File> files, Bytes request) {
  std::vector<Part> parts;
  for (const File& file : files) {
    const Bytes size = AlignDown(file.Size(), kDirectAlignment);
    for (Bytes offset = 0; offset < size; offset += request) {
      parts.push_back({.file = &file, .offset = offset, .size = std::min(request, size - offset)});
    }
  }
  return parts;
}

// A step that leads through all of `count` parts, far from one to the next: experts are read in
// no order that the disk could foresee.
std::size_t ScatteringStep(std::size_t count) {
  std::size_t step = count * 5 / 8 + 1;
  while (std::gcd(step, count) != 1) ++step;
  return step;
}

// Four running sums, so that the additions do not wait for one another.
std::uint64_t SumWords(std::span<const std::uint64_t> words) {
  std::uint64_t sums[4] = {};
  for (std::size_t i = 0; i + 4 <= words.size(); i += 4) {
    for (std::size_t lane = 0; lane < 4; ++lane) sums[lane] += words[i + lane];
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

}  // namespace

ProbeResult ProbeDisk(std::span<const fs::path> files, const DiskProbeOptions& options) {
  DOPPLER_CHECK(options.threads >= 1 && options.request > 0 &&
                options.request % kDirectAlignment == 0);
  std::vector<File> open_files;
  for (const fs::path& path : files) open_files.emplace_back(path, OpenMode::kDirect);
  const std::vector<Part> parts = SplitFiles(open_files, options.request);
  if (parts.empty())
    Throw("there is no file of at least {} to measure the disk with", FormatSize(kDirectAlignment));
  std::vector<AlignedBuffer> buffers(static_cast<std::size_t>(options.threads));
  for (AlignedBuffer& buffer : buffers) buffer = AllocateAligned(options.request);

  const std::size_t step = ScatteringStep(parts.size());
  std::atomic<std::size_t> next = 0;
  std::atomic<Bytes> total = 0;
  const Clock::time_point start = Clock::now();
  RunThreads(options.threads, [&](int thread) {
    while (SecondsSince(start) < options.seconds) {
      const std::size_t index = next.fetch_add(1);
      if (index >= parts.size()) return;
      const Part& part = parts[index * step % parts.size()];
      part.file->ReadAt(part.offset,
                        std::span(buffers[static_cast<std::size_t>(thread)].get(), part.size));
      total += part.size;
    }
  });
  return {.bytes = total,
          .seconds = SecondsSince(start),
          .direct = std::all_of(open_files.begin(), open_files.end(),
                                [](const File& file) { return file.direct(); })};
}

ProbeResult ProbeMemory(const MemoryProbeOptions& options) {
  DOPPLER_CHECK(options.threads >= 1 && options.buffer > 0);
  const Bytes each =
      AlignUp(options.buffer / static_cast<Bytes>(options.threads) + 1, kDirectAlignment);
  const AlignedBuffer buffer = AllocateAligned(each * static_cast<Bytes>(options.threads));
  std::atomic<Bytes> total = 0;
  std::atomic<std::uint64_t> sink = 0;  // keeps the sums from being optimised away
  std::barrier filled(options.threads);
  std::atomic<double> longest = 0;
  RunThreads(options.threads, [&](int thread) {
    auto* const words =
        reinterpret_cast<std::uint64_t*>(buffer.get() + each * static_cast<Bytes>(thread));
    const std::span<std::uint64_t> part(words, each / sizeof(std::uint64_t));
    // Pages that were never written would all be one page of zeros, and the thread that writes
    // first gets them close to its core.
    std::fill(part.begin(), part.end(), static_cast<std::uint64_t>(thread));
    filled.arrive_and_wait();
    const Clock::time_point start = Clock::now();
    do {
      sink += SumWords(part);
      total += each;
    } while (SecondsSince(start) < options.seconds);
    const double seconds = SecondsSince(start);
    for (double seen = longest; seconds > seen && !longest.compare_exchange_weak(seen, seconds);) {
    }
  });
  return {.bytes = total, .seconds = longest, .direct = false};
}

Bytes MemoryProbeBuffer(Bytes last_level_cache) {
  return std::clamp(2 * std::min(last_level_cache, kGiB), 32 * kMiB, 256 * kMiB);
}

}  // namespace doppler
